using System.Collections.Concurrent;
using FsCheck;
using FsCheck.Fluent;

namespace Kimi.Mooncake.Store.Tests;

/// <summary>
/// Random operations on a store and on a model of it. The model knows what must be there and what must not; what the
/// store may evict is told by its listener, and must be neither pinned nor leased nor before a block that stays.
/// </summary>
public sealed class ModelTests
{
    private const int Operations = 400;
    private const int Runs = 20;

    [Test]
    public void Operations_InAnyOrder_AgreeWithTheModel()
    {
        var operations = Gen.Choose(0, int.MaxValue).ListOf(Operations).ToArbitrary();
        var totals = new ConcurrentQueue<(long Room, long Quota, long Refused, long Moved)>();

        Check.One(
            Config.QuickThrowOnFailure.WithMaxTest(Runs),
            Prop.ForAll(operations, list => RunAsync([.. list], totals)));

        Assert.That(totals, Has.Count.EqualTo(Runs));
        Assert.That(totals.Sum(static total => total.Room), Is.GreaterThan(0), "blocks were evicted for room");
        Assert.That(totals.Sum(static total => total.Quota), Is.GreaterThan(0), "blocks were evicted for a quota");
        Assert.That(totals.Sum(static total => total.Refused), Is.GreaterThan(0), "puts were refused");
        Assert.That(totals.Sum(static total => total.Moved), Is.GreaterThan(0), "blocks were moved");
    }

    private static async Task RunAsync(
        int[] operations, ConcurrentQueue<(long Room, long Quota, long Refused, long Moved)> totals)
    {
        using var folder = new TemporaryFolder();
        await using var model = new StoreModel(folder.Path);
        foreach (var operation in operations)
        {
            var number = operation / 16 % StoreModel.Numbers;
            var amount = operation / (16 * StoreModel.Numbers) % 5;
            switch (operation % 16)
            {
                case < 6:
                    model.Put(number, amount);
                    break;
                case < 9:
                    model.Get(number);
                    break;
                case 9:
                    model.GetLayers(number);
                    break;
                case 10:
                    model.Retain(number, amount);
                    break;
                case 11:
                    model.Unpin(number);
                    break;
                case 12:
                    model.Lease(number, amount);
                    break;
                case 13:
                    model.Remove(number);
                    break;
                case 14:
                    await model.AdvanceAsync(amount);
                    break;
                default:
                    await (amount == 0 ? model.ReopenAsync() : model.CompactAsync());
                    break;
            }
        }

        model.CheckAll();
        totals.Enqueue(model.Totals);
    }
}
