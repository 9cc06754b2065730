using System.Net;
using System.Text;
using System.Text.Json;
using Kimi.Mooncake.Gateway.Tenancy;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kimi.Mooncake.Gateway.Tests;

/// <summary>A gateway whose callers prove themselves by keys.</summary>
[TestFixture]
internal sealed class ApiKeyTests
{
    private string _path = "";
    private HandTime _time = null!;
    private TenantDirectory _tenants = null!;
    private RunningGateway _gateway = null!;

    [SetUp]
    public async Task StartAsync()
    {
        _path = Path.Combine(TestContext.CurrentContext.WorkDirectory, $"tenants-{Guid.NewGuid():N}.json");
        Write(("acme", "secret-1", "docs"), ("other", "secret-2", ""));
        _time = new HandTime();
        _tenants = new TenantDirectory(new TenantsOptions { File = _path }, _time, NullLogger.Instance);
        _gateway = await RunningGateway.StartAsync(tenants: _tenants);
    }

    [TearDown]
    public async Task StopAsync()
    {
        await _gateway.DisposeAsync();
        _tenants.Dispose();
        File.Delete(_path);
    }

    [TestCase("Authorization", "Bearer secret-1")]
    [TestCase("Authorization", "bearer  secret-1 ")]
    [TestCase("x-api-key", "secret-1")]
    public async Task Request_WithAKey_IsMadeForItsTenant(string header, string value)
    {
        using var response = await AskAsync("/v1/completions", (header, value));

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        var request = _gateway.Generator.Requests.Single();
        Assert.That((request.Tenant, request.CacheSalt), Is.EqualTo(("acme", "tenant:4:acme:")));
    }

    [TestCase("/v1/completions")]
    [TestCase("/v1/chat/completions")]
    [TestCase("/v1/models")]
    [TestCase("/v1/models/test/kimi")]
    [TestCase("/v1/savings")]
    [TestCase("/v1/caching")]
    [TestCase("/V1/models")]
    [TestCase("/V1/Models/test/kimi")]
    [TestCase("/V1/chat/completions")]
    [TestCase("/V1/savings")]
    [TestCase("/%561/models")]
    [TestCase("/v1/models/")]
    [TestCase("/health/../V1/models")]
    [TestCase("/nothing/here")]
    public async Task Api_WithoutAKey_IsUnauthorized(string path)
    {
        using var response = await AskAsync(path);

        await AssertErrorAsync(response, HttpStatusCode.Unauthorized, "invalid_api_key", "Bearer");
        Assert.That(response.Headers.WwwAuthenticate.ToString(), Is.EqualTo("Bearer"));
    }

    [TestCase("Bearer secret-3", null)]
    [TestCase("Bearer ", null)]
    [TestCase("Basic secret-1", null)]
    [TestCase("secret-1", null)]
    [TestCase("Bearer secret-1", "secret-2")]
    [TestCase(null, "secret-1 secret-1")]
    public async Task Request_WithAnotherKey_IsUnauthorized(string? authorization, string? key)
    {
        var headers = new List<(string, string)>();
        if (authorization is not null)
        {
            headers.Add(("Authorization", authorization));
        }

        if (key is not null)
        {
            headers.Add(("x-api-key", key));
        }

        using var response = await AskAsync("/v1/completions", [.. headers]);

        await AssertErrorAsync(response, HttpStatusCode.Unauthorized, "invalid_api_key", "API key");
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Not.Contain("secret"));
        Assert.That(_gateway.Generator.Requests, Is.Empty);
    }

    [TestCase("/health")]
    [TestCase("/metrics")]
    [TestCase("/Health")]
    public async Task Status_WithoutAKey_IsAnswered(string path)
    {
        using var response = await _gateway.Client.GetAsync(new Uri(path, UriKind.Relative));

        Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public async Task Tenant_InAHeaderToo_MustBeTheKeys()
    {
        using var same = await AskAsync(
            "/v1/completions", ("x-api-key", "secret-1"), ("x-tenant-id", "acme"));
        using var another = await AskAsync(
            "/v1/completions", ("x-api-key", "secret-1"), ("x-tenant-id", "other"));

        Assert.That(same.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        await AssertErrorAsync(another, HttpStatusCode.Forbidden, "tenant_mismatch", "'other'");
    }

    [Test]
    public async Task Namespace_Shared_IsForThoseWhoMayOnly()
    {
        using var allowed = await AskAsync(
            "/v1/completions", ("x-api-key", "secret-1"), ("x-cache-namespace", "docs"));
        using var refused = await AskAsync(
            "/v1/completions", ("x-api-key", "secret-2"), ("x-cache-namespace", "docs"));

        Assert.That(allowed.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(_gateway.Generator.Requests.Single().CacheSalt, Is.EqualTo("namespace:4:docs:"));
        Assert.That(_gateway.Generator.Requests.Single().Tenant, Is.EqualTo("acme"), "who pays is as before");
        await AssertErrorAsync(refused, HttpStatusCode.Forbidden, "namespace_not_allowed", "'docs'");
    }

    [Test]
    public async Task File_Changes_HoldsFromTheNextLook()
    {
        // Arrange
        Write(("acme", "secret-new", ""), ("third", "secret-3", ""));

        // Act
        _time.Fire();

        // Assert
        using var old = await AskAsync("/v1/completions", ("x-api-key", "secret-1"));
        using var changed = await AskAsync("/v1/completions", ("x-api-key", "secret-new"));
        using var added = await AskAsync("/v1/completions", ("x-api-key", "secret-3"));
        Assert.That(
            new[] { old, changed, added }.Select(response => response.StatusCode),
            Is.EqualTo([HttpStatusCode.Unauthorized, HttpStatusCode.OK, HttpStatusCode.OK]));
    }

    [Test]
    public async Task File_BecomesWrong_WhatItSaidHolds()
    {
        var changes = 0;
        _tenants.Changed += () => changes++;
        await File.WriteAllTextAsync(_path, "{\"tenants\":[{\"tenant\":\"acme\"}]}");
        _time.Fire();
        using (var response = await AskAsync("/v1/completions", ("x-api-key", "secret-1")))
        {
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        }

        File.Delete(_path);
        _time.Fire();
        using (var response = await AskAsync("/v1/completions", ("x-api-key", "secret-1")))
        {
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        }

        Assert.That(changes, Is.Zero);
    }

    [Test]
    public async Task File_ThatCannotBeReadForAWhile_HoldsOnceItCan()
    {
        // Arrange
        Write(("acme", "secret-new", ""));
        using (new FileStream(_path, FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            _time.Fire();
        }

        using var before = await AskAsync("/v1/completions", ("x-api-key", "secret-1"));

        // Act
        _time.Fire();

        // Assert
        using var old = await AskAsync("/v1/completions", ("x-api-key", "secret-1"));
        using var changed = await AskAsync("/v1/completions", ("x-api-key", "secret-new"));
        Assert.That(
            new[] { before, old, changed }.Select(response => response.StatusCode),
            Is.EqualTo([HttpStatusCode.OK, HttpStatusCode.Unauthorized, HttpStatusCode.OK]));
    }

    [Test]
    public void File_ChangesAndSomebodyCannotTakeIt_TheOthersGoOn()
    {
        _tenants.Changed += () => throw new InvalidOperationException("no room for quotas");
        Write(("acme", "secret-new", ""), ("third", "secret-3", ""), ("fourth", "secret-4", ""));

        Assert.That(_time.Fire, Throws.Nothing);

        Assert.That(_tenants.Entries, Has.Count.EqualTo(3));
    }

    private static async Task AssertErrorAsync(
        HttpResponseMessage response, HttpStatusCode status, string code, string message)
    {
        Assert.That(response.StatusCode, Is.EqualTo(status));
        var error = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error");
        Assert.That(error.GetProperty("code").GetString(), Is.EqualTo(code));
        Assert.That(error.GetProperty("message").GetString(), Does.Contain(message));
        Assert.That(error.EnumerateObject().Select(p => p.Name), Is.EqualTo(["message", "type", "param", "code"]));
    }

    private async Task<HttpResponseMessage> AskAsync(string path, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(
            path.EndsWith("completions", StringComparison.Ordinal) ? HttpMethod.Post : HttpMethod.Get, path);
        if (request.Method == HttpMethod.Post)
        {
            request.Content = new StringContent(
                "{\"model\":\"test/kimi\",\"prompt\":\"hi\"}", Encoding.UTF8, "application/json");
        }

        foreach (var (name, value) in headers)
        {
            Assert.That(request.Headers.TryAddWithoutValidation(name, value));
        }

        return await _gateway.Client.SendAsync(request);
    }

    private void Write(params (string Tenant, string Key, string Namespace)[] tenants)
    {
        var entries = tenants.Select(t =>
            $"{{\"tenant\":\"{t.Tenant}\",\"api_key_sha256\":\"{TenantsFileTests.Hash(t.Key)}\"" +
            (t.Namespace.Length > 0 ? $",\"namespaces\":[\"{t.Namespace}\"]" : "") + "}");
        File.WriteAllText(_path, $"{{\"tenants\":[{string.Join(',', entries)}]}}");
    }

    /// <summary>A clock whose timers fire when the test says so.</summary>
    private sealed class HandTime : TimeProvider
    {
        private readonly List<Action> _timers = [];

        public void Fire() => _timers.ForEach(fire => fire());

        public override ITimer CreateTimer(
            TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            _timers.Add(() => callback(state));
            return new NoTimer();
        }

        private sealed class NoTimer : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => ValueTask.CompletedTask;
        }
    }
}
