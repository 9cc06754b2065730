namespace Kimi.Mooncake.Host.Serving;

/// <summary>What a process became.</summary>
/// <param name="Address">HTTP of a gateway; gRPC of another process.</param>
/// <param name="Rpc">gRPC; null where no role needs it.</param>
/// <param name="ModelId">What is served; empty for a conductor without a model file.</param>
/// <param name="Fingerprint">Fingerprint of the model; empty likewise.</param>
/// <param name="Refused">Ends with the reason when the conductor does not take the process.</param>
internal sealed record ServedProcess(
    Uri Address, Uri? Rpc, string ModelId, string Fingerprint, Task<string> Refused);
