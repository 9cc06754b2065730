using System.Text;
using Kimi.Mooncake.Cluster.Contexts;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Cluster.Tests.Contexts;

/// <summary>Contexts for tests, and catalogs of a folder.</summary>
internal static class ContextSamples
{
    public static KeptContext Context(
        ManualTime time, string tenant = "a", string name = "n", int seconds = 3600, int bytes = 20) => new()
        {
            Tenant = tenant,
            CacheSalt = "salt",
            Model = "kimi",
            Messages = Encoding.UTF8.GetBytes($"[\"{new string('m', bytes)}\"]"),
            Tools = Encoding.UTF8.GetBytes("[]"),
            Name = name,
            Description = "what it is for",
            Metadata = [KeyValuePair.Create("biz_id", name)],
            ExpiresUnixMs = time.GetUtcNow().ToUnixTimeMilliseconds() + (1000L * seconds),
            Tokens = 7,
        };

    public static ContextCatalog Open(
        string folder, TimeProvider time, Func<ContextCatalogOptions, ContextCatalogOptions>? with = null)
    {
        var options = new ContextCatalogOptions { Directory = folder };
        return ContextCatalog.Open(with?.Invoke(options) ?? options, time, NullLogger.Instance);
    }

    /// <summary>A context as text, with everything that is kept of it.</summary>
    public static string Describe(KeptContext? context) => context is null
        ? "none"
        : $"{context.Id} {context.Tenant} {context.CacheSalt} {context.Model} {context.Name} {context.Description} " +
          $"{Encoding.UTF8.GetString(context.Messages.Span)} {Encoding.UTF8.GetString(context.Tools.Span)} " +
          $"{(context.Metadata is null ? "null" : string.Join(',', context.Metadata))} {context.Sequence} " +
          $"{context.CreatedUnixMs} {context.ExpiresUnixMs} {context.Tokens} {context.State}";

    /// <summary>All that a tenant has, as text.</summary>
    public static async Task<string> DescribeAsync(IContextCatalog catalog, string tenant = "a")
    {
        var all = new ContextQuery { Limit = 100, Ascending = true };
        var contexts = await catalog.ListAsync(tenant, all, CancellationToken.None);
        var tags = await catalog.ListTagsAsync(tenant, all, CancellationToken.None);
        return string.Join('\n', [.. contexts!.Select(Describe), .. tags!.Select(tag => tag.ToString())]);
    }
}
