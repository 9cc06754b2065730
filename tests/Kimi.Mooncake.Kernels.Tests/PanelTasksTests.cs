using Kimi.Mooncake.Kernels.Cpu;

namespace Kimi.Mooncake.Kernels.Tests;

/// <summary>Tasks are all panels once, in shares that members find at their places.</summary>
internal sealed class PanelTasksTests
{
    [Test]
    public void Share_AnyPanels_GivesEachMemberItsPanelsInOrder(
        [Values(1, 2, 3, 8, 64)] int members, [Values(1, 2, 7, 1000)] int panelsMax)
    {
        var tasks = new PanelTasks(members);
        for (var panels = 1; panels < 200; panels++)
        {
            tasks.Share(panels, panelsMax);

            Assert.That(tasks.Count % members, Is.Zero);
            Assert.That(tasks.First(0), Is.Zero);
            Assert.That(tasks.First(tasks.Count), Is.EqualTo(panels));
            for (var task = 0; task < tasks.Count; task++)
            {
                var owner = tasks.OwnerOf(task);
                Assert.That(tasks.PanelsOf(task), Is.InRange(0, Math.Min(panelsMax, tasks.PanelsMax)));
                Assert.That(
                    tasks.First(task), Is.InRange(
                        PanelTasks.ShareOf(owner, members, panels), PanelTasks.ShareOf(owner + 1, members, panels)));
            }

            for (var member = 0; member < members; member++)
            {
                // Where the team begins the member's range.
                var first = TeamBoard.FirstOf(member, members, tasks.Count);
                Assert.That(tasks.OwnerOf(first), Is.EqualTo(member));
                Assert.That(tasks.First(first), Is.EqualTo(PanelTasks.ShareOf(member, members, panels)));
            }
        }
    }

    [Test]
    public void Share_TaskAfterTask_TakesHalfOfWhatIsLeftOfAShare()
    {
        var tasks = new PanelTasks(2);

        tasks.Share(panels: 42, panelsMax: 8);

        var counts = Enumerable.Range(0, tasks.Count).Select(tasks.PanelsOf);
        Assert.That(counts, Is.EqualTo((int[])[8, 7, 3, 2, 1, 8, 7, 3, 2, 1]));
        var ends = Enumerable.Range(0, tasks.Count).Where(tasks.EndsShare);
        Assert.That(ends, Is.EqualTo((int[])[4, 9]));
    }

    [Test]
    public void Share_UnevenPanels_LeavesTheLastTaskOfASmallerShareEmpty()
    {
        var tasks = new PanelTasks(2);

        tasks.Share(panels: 3, panelsMax: 8);

        Assert.That(Enumerable.Range(0, tasks.Count).Select(tasks.PanelsOf), Is.EqualTo((int[])[1, 1, 1, 0]));
        var ends = Enumerable.Range(0, tasks.Count).Select(tasks.EndsShare);
        Assert.That(ends, Is.EqualTo((bool[])[false, true, true, true]));
    }

    [Test]
    public void Cut_AnyPanels_IsEvenButForTheLastTask([Values(1, 3, 8)] int panelsMax)
    {
        var tasks = new PanelTasks(2);

        tasks.Cut(17, panelsMax);

        var counts = Enumerable.Range(0, tasks.Count).Select(tasks.PanelsOf).ToArray();
        Assert.That(counts.Sum(), Is.EqualTo(17));
        Assert.That(counts[..^1], Is.All.EqualTo(panelsMax));
        Assert.That(counts[^1], Is.InRange(1, panelsMax));
    }
}
