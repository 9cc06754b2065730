using System.Globalization;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Kimi.Mooncake.Host.Serving;

/// <summary>Log lines on standard error: time, level, category, message; standard output stays for results.</summary>
internal sealed class TerminalLogger(string category, TextWriter error, TimeProvider time) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
        {
            return;
        }

        var now = time.GetUtcNow().ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture);
        var trace = exception is null ? "" : $"{Environment.NewLine}{exception}";
        error.WriteLine($"{now} {Name(logLevel)} {category}: {formatter(state, exception)}{trace}");
    }

    private static string Name(LogLevel level) => level switch
    {
        LogLevel.Warning => "warning",
        LogLevel.Error => "error",
        LogLevel.Critical => "critical",
        _ => "info",
    };
}

/// <summary>Makes <see cref="TerminalLogger"/>s over the process's standard error.</summary>
internal sealed class TerminalLoggerProvider : ILoggerProvider
{
    public ILogger CreateLogger(string categoryName) =>
        new TerminalLogger(categoryName, Console.Error, TimeProvider.System);

    public void Dispose()
    {
        // Standard error belongs to the process.
    }
}

/// <summary>Registration.</summary>
internal static class TerminalLogging
{
    public static void AddTerminal(this ILoggingBuilder builder) =>
        builder
            .AddFilter("Microsoft", LogLevel.Warning) // Each request would be six lines of the web framework.
            .Services.AddSingleton<ILoggerProvider, TerminalLoggerProvider>();
}
