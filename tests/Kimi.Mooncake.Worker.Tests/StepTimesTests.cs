namespace Kimi.Mooncake.Worker.Tests;

internal sealed class StepTimesTests
{
    [Test]
    public void PrefillSecondsSaved_StepsThatGotFaster_CountsTheMeanOfAToken()
    {
        // The code of the first steps is compiled meanwhile: longer contexts took less time.
        var times = new StepTimes();
        for (var step = 0; step < 8; step++)
        {
            times.Add(512, 512.0 * 512 * step, 0, TimeSpan.FromSeconds(1.0 / (step + 1)));
        }

        var saved = times.PrefillSecondsSaved(4096, 2048);

        Assert.That(saved, Is.GreaterThan(0).And.LessThan(8));
    }

    [Test]
    public void PrefillSecondsSaved_BeforeTheFirstStep_IsNothing() =>
        Assert.That(new StepTimes().PrefillSecondsSaved(4096, 2048), Is.Zero);
}
