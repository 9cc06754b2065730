using System.Globalization;
using System.Net;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>How other processes name a node, where nobody says otherwise.</summary>
internal static class NodeAddress
{
    /// <summary>The address that is listened on; for every interface, the machine's name.</summary>
    public static string Reachable(Uri listening)
    {
        var isEvery = IPAddress.TryParse(listening.Host.Trim('[', ']'), out var address)
            && (address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any));
        var builder = new UriBuilder(listening) { Host = isEvery ? Environment.MachineName : listening.Host };
        return builder.Uri.AbsoluteUri.TrimEnd('/');
    }

    /// <summary>Machine and port: unique wherever addresses are.</summary>
    public static string DefaultNodeId(Uri listening) =>
        string.Create(CultureInfo.InvariantCulture, $"{Environment.MachineName}-{listening.Port}");
}
