using Kimi.Mooncake.Cluster;
using Kimi.Mooncake.Engine;

namespace Kimi.Mooncake.Worker;

/// <summary>The engine's refusals as the port's exceptions.</summary>
internal static class WorkerRefusals
{
    /// <summary>Returns where the request was accepted.</summary>
    public static void Throw(AdmissionResult admission)
    {
        switch (admission.Reason)
        {
            case AdmissionReason.QueueFull:
                throw new QueueFullException(admission.Value, admission.ValueMax);
            case AdmissionReason.TooLong:
                throw new PromptTooLongException(admission.Value, admission.ValueMax);
            case AdmissionReason.Draining:
                throw new DrainingException();
            default:
                return;
        }
    }
}
