using System.Globalization;
using System.Text;
using System.Xml;
using System.Xml.Linq;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Models;

namespace Kimi.Mooncake.Host.Bench;

/// <summary>
/// Writes the <see cref="PrefillChart"/> of a bench: as a drawing, or as a page with its figures below.
/// </summary>
internal static class PrefillPage
{
    private const string Drawing = ".svg";
    private const string Page = ".html";

    private const string Style =
        """
        :root { color-scheme: light dark; }
        body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem;
               background: #ffffff; color: #1b1f24; }
        h1 { font-size: 1.3rem; margin-bottom: 0.2rem; }
        p { color: #57606a; margin-top: 0; }
        table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
        th, td { text-align: right; padding: 0.2rem 0.9rem; border-bottom: 1px solid #d0d7de; font-weight: normal; }
        th { color: #57606a; }
        svg { width: 100%; height: auto; }
        @media (prefers-color-scheme: dark) {
          body { background: #0d1117; color: #e6edf3; }
          p, th { color: #9aa4af; }
          th, td { border-color: #30363d; }
        }
        """;

    /// <exception cref="CommandException">It is neither a page nor a drawing, or its folder is not there.</exception>
    public static void CheckPath(string? path)
    {
        if (path is not null && Path.GetExtension(path) is not (Drawing or Page))
        {
            throw new CommandException(
                $"--report {path}: expected a name that ends in {Page} or {Drawing}", ExitCode.Usage);
        }

        if (path is not null && !Directory.Exists(Path.GetDirectoryName(path)))
        {
            throw new CommandException($"--report {path}: there is no such folder", ExitCode.Usage);
        }
    }

    /// <summary>Writes it for a report that has a curve.</summary>
    public static void Write(string path, PrefillCurve curve, ModelBenchReport report)
    {
        var isPage = Path.GetExtension(path) == Page;
        using var writer = XmlWriter.Create(path, new XmlWriterSettings
        {
            Indent = true,
            Encoding = new UTF8Encoding(false),
            OmitXmlDeclaration = isPage,
        });
        (isPage ? PageOf(curve, report) : new XDocument(PrefillChart.Draw(curve))).Save(writer);
    }

    private static XDocument PageOf(PrefillCurve curve, ModelBenchReport report)
    {
        var title = Text($"Prefill of {curve.Tokens:N0} tokens, {report.ModelId}");
        return new XDocument(
            new XDocumentType("html", null, null, null),
            new XElement(
                "html",
                new XAttribute("lang", "en"),
                new XElement(
                    "head",
                    new XElement("meta", new XAttribute("charset", "utf-8")),
                    new XElement(
                        "meta", new XAttribute("name", "viewport"),
                        new XAttribute("content", "width=device-width, initial-scale=1")),
                    new XElement("title", title),
                    new XElement("style", Style)),
                new XElement(
                    "body",
                    new XElement("h1", title),
                    new XElement("p", About(report)),
                    PrefillChart.Draw(curve),
                    new XElement("p", PrefillChart.Describe(curve)),
                    Figures(curve))));
    }

    private static string About(ModelBenchReport report)
    {
        var runs = report.Runs == 1 ? "1 run" : Text($"median of {report.Runs} runs");
        return Text($"{report.Processor}, {report.Kernels}, arithmetic {report.Arithmetic}, KV as {report.KvType}, ")
            + Text($"passes of {report.ChunkTokens:N0} tokens, {runs}.");
    }

    private static XElement Figures(PrefillCurve curve) => new(
        "table",
        Row("th", "position", "tokens", "µs per token", "by the line", "tokens/s"),
        curve.Points.Select(point => Row(
            "td",
            Text($"{point.Position:N0}"),
            Text($"{point.Tokens:N0}"),
            Text($"{point.SecondsPerToken * 1e6:N1}"),
            Text($"{point.FittedSecondsPerToken * 1e6:N1}"),
            Text($"{1 / point.SecondsPerToken:N1}"))));

    private static XElement Row(string cell, params string[] texts) =>
        new("tr", texts.Select(text => new XElement(cell, text)));

    private static string Text(FormattableString value) => value.ToString(CultureInfo.InvariantCulture);
}
