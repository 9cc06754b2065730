using Kimi.Mooncake.Core;

namespace Kimi.Mooncake.Worker.Peers;

/// <summary>Blocks for a store node, which stay as they are until it has them.</summary>
/// <param name="Keys">Their keys.</param>
/// <param name="Parents">Key of the block before each; the root key for a first block.</param>
/// <param name="Sources">First byte of each.</param>
/// <param name="BlockBytes">Bytes of each.</param>
/// <param name="Fingerprint">Names the model.</param>
/// <param name="Attributes">What is stored with each.</param>
internal sealed record PutBlocks(
    BlockKey[] Keys, BlockKey[] Parents, nint[] Sources, int BlockBytes, string Fingerprint,
    BlockAttributes Attributes);
