using Kimi.Mooncake.Core;
using Kimi.Mooncake.Store;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>What a process gives to others.</summary>
/// <param name="Layout">Layout of its blocks.</param>
/// <param name="Fingerprint">Names its model.</param>
/// <param name="Pool">Its published blocks; null for a process without a pool.</param>
/// <param name="Store">Its stored blocks; null for a process without a store.</param>
/// <param name="TakesPuts">Whether it stores blocks of others.</param>
internal sealed record BlocksServed(
    KvLayout Layout, string Fingerprint, IPublishedBlocks? Pool, KvBlockStore? Store, bool TakesPuts);
