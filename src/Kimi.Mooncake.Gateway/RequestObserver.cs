using System.Net;
using Kimi.Mooncake.Gateway.OpenAi;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Kimi.Mooncake.Gateway;

/// <summary>
/// Around every request: gives it an id, counts it, and sees to it that whatever goes wrong before the response has
/// begun ends in an error object.
/// </summary>
internal sealed class RequestObserver(GatewayMetrics metrics, TimeProvider time, FailureResponse failures)
{
    /// <summary>The status that is counted for a client that went away.</summary>
    private const int ClientClosedRequest = 499;

    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        metrics.RequestStarted();
        context.TraceIdentifier = Guid.CreateVersion7(time.GetUtcNow()).ToString("N");
        context.Response.Headers["x-request-id"] = context.TraceIdentifier;
        var status = (int)HttpStatusCode.InternalServerError;
        try
        {
            await next(context);
            await ExplainRefusedRouteAsync(context);
            status = context.Response.StatusCode;
        }
        catch (Exception) when (context.RequestAborted.IsCancellationRequested)
        {
            // Nobody is left to answer; the cancellation has already ended the work.
            status = ClientClosedRequest;
        }
        catch (Exception exception) when (!context.Response.HasStarted)
        {
            var error = failures.Describe(exception, context.TraceIdentifier);
            status = (int)error.Status;
            await failures.WriteAsync(context, error);
        }
        finally
        {
            metrics.RequestEnded((context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText ?? "other", status);
        }
    }

    private Task ExplainRefusedRouteAsync(HttpContext context)
    {
        if (context.Response.HasStarted)
        {
            return Task.CompletedTask;
        }

        var request = $"{context.Request.Method} {context.Request.Path}";
        return context.Response.StatusCode switch
        {
            StatusCodes.Status404NotFound => failures.WriteAsync(context, new ApiException(
                HttpStatusCode.NotFound, "invalid_request_error", "unknown_url", null, $"Unknown URL: {request}.")),
            StatusCodes.Status405MethodNotAllowed => failures.WriteAsync(context, new ApiException(
                HttpStatusCode.MethodNotAllowed, "invalid_request_error", "method_not_allowed", null,
                $"Method not allowed: {request}; allowed: {context.Response.Headers.Allow}.")),
            _ => Task.CompletedTask,
        };
    }
}
