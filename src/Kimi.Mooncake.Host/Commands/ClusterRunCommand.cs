using System.CommandLine;
using Kimi.Mooncake.Host.Output;
using Kimi.Mooncake.Host.Processes;
using Kimi.Mooncake.Host.Serving;

namespace Kimi.Mooncake.Host.Commands;

/// <summary><c>mooncake cluster run</c>: starts the processes of a file, and ends them all when interrupted.</summary>
internal static class ClusterRunCommand
{
    public static Command Create(Terminal terminal)
    {
        var file = new Argument<FileInfo>("CONFIG") { Description = "File of cluster-config, such as 2p4d.json." };
        var options = new ClusterOptions();
        var json = JsonOption.Create();
        var command = new Command("run", "Starts the processes of a file on this machine, until it is interrupted.")
        {
            file, json,
        };
        options.AddTo(command);
        MooncakeCommand.SetAction(command, terminal, async (parsed, cancellationToken) =>
        {
            var config = ClusterConfigReader.Read(parsed.GetValue(file)!.FullName);
            var place = options.Prepare(parsed);
            terminal.Remark($"starting {config.Processes.Count} processes; logs in {place.Folder}");
            var cluster = await RunningCluster.StartAsync(config, place, cancellationToken).ConfigureAwait(false);
            await using var owned = cluster.ConfigureAwait(false);
            if (parsed.GetValue(json))
            {
                terminal.WriteJson(Describe(cluster));
                terminal.Output.Flush();
            }
            else
            {
                ClusterOptions.Announce(terminal, cluster, place.Folder);
            }

            var died = await WatchAsync(cluster, terminal, cancellationToken).ConfigureAwait(false);
            terminal.Remark("stopping");
            var late = await cluster.StopAsync().ConfigureAwait(false);
            foreach (var process in late.Where(process => !died.Contains(process)))
            {
                terminal.Remark($"{process.Config.Name} did not stop by itself; see {process.Log}");
            }

            if (late.Count > 0)
            {
                throw new CommandException(
                    $"not all processes ended well: {string.Join(", ", late.Select(process => process.Config.Name))}");
            }

            terminal.Remark("all processes have ended");
        });
        return command;
    }

    private static object Describe(RunningCluster cluster) => new
    {
        Address = cluster.Gateway,
        cluster.Conductor,
        Processes = cluster.Processes.Select(process => new
        {
            process.Config.Name,
            Role = ServeOptions.RoleSetting.Format(process.Config.Roles),
            process.ProcessId,
            process.Http,
            process.Rpc,
            process.Log,
        }),
    };

    /// <summary>Reports processes that die, until the interrupt or until none is left.</summary>
    /// <returns>Those that died.</returns>
    private static async Task<IReadOnlyCollection<ClusterProcess>> WatchAsync(
        RunningCluster cluster, Terminal terminal, CancellationToken cancellationToken)
    {
        var interrupted = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = cancellationToken.Register(() => interrupted.TrySetResult());
        var alive = cluster.Processes.ToList();
        var died = new List<ClusterProcess>();
        while (alive.Count > 0)
        {
            await Task.WhenAny([interrupted.Task, .. alive.Select(process => process.Exited)]).ConfigureAwait(false);
            if (interrupted.Task.IsCompleted)
            {
                return died;
            }

            foreach (var process in alive.Where(process => process.Exited.IsCompleted).ToList())
            {
                alive.Remove(process);
                died.Add(process);
                terminal.Remark(
                    $"{process.Config.Name} (pid {process.ProcessId}) ended with exit code " +
                    $"{await process.Exited.ConfigureAwait(false)}; the end of {process.Log}:\n{process.Tail()}");
            }
        }

        return died;
    }
}
