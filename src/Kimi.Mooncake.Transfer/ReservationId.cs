using System.Globalization;

namespace Kimi.Mooncake.Transfer;

/// <summary>Names reserved memory of a process, towards other processes.</summary>
/// <param name="Id">Names the reservation.</param>
/// <param name="Generation">Of this use of the id; frames of another generation are discarded.</param>
public readonly record struct ReservationId(ulong Id, uint Generation)
{
    /// <summary>Id and generation in hexadecimal.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Id:x16}/{Generation:x8}");
}
