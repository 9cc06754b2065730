using Kimi.Mooncake.Host.Commands;
using Kimi.Mooncake.Host.Output;

return await MooncakeCommand.RunAsync(args, Terminal.OfProcess(), CancellationToken.None).ConfigureAwait(false);
