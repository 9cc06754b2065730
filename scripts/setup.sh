# Shared by the scripts beside it (`source`d, not run). Everything that set-up writes lies inside the repository, in
# ignored folders: artifacts/state (optional groups, what was restored and built), bin and obj.
# shellcheck shell=bash

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
STATE="$ROOT/artifacts/state"
HOST_DLL="$ROOT/src/Kimi.Mooncake.Host/bin/Release/net10.0/mooncake.dll"

export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1
# Build nodes that outlive the build would keep the caller's pipes open.
export MSBUILDDISABLENODEREUSE=1 DOTNET_CLI_USE_MSBUILD_SERVER=0

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

require_dotnet() {
  local found
  command -v dotnet >/dev/null 2>&1 || die "the .NET 10 SDK is missing: there is no dotnet on the PATH"
  found="$(cd "$ROOT" && dotnet --version 2>/dev/null)" || found=""
  if [[ "$found" != 10.* ]]; then
    [[ -n "$found" ]] || found="$(dotnet --list-sdks 2>/dev/null | cut -d' ' -f1 | paste -sd' ' -)" || found=""
    die "the .NET 10 SDK is missing: the dotnet on the PATH has ${found:-no SDK}"
  fi
}

# Hash over the names and contents of all files under the given paths, build outputs excepted.
hash_of() {
  (cd "$ROOT" && find "$@" \( -name bin -o -name obj -o -name TestResults \) -prune -o -type f -print0 2>/dev/null |
    LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

PROJECT_FILES=(Directory.Build.props Directory.Packages.props global.json Kimi.Mooncake.sln .editorconfig proto)

# A restore is bound to the folder of packages that it went to.
restore_key() {
  (cd "$ROOT" && printf '%s\n' "${NUGET_PACKAGES:-}" && find src tests Directory.Build.props Directory.Packages.props global.json Kimi.Mooncake.sln \
    \( -name bin -o -name obj \) -prune -o -type f \( -name '*.csproj' -o -name '*.props' -o -name '*.targets' \
    -o -name '*.sln' -o -name global.json \) -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -d' ' -f1
}

# Whether every project has the file that a restore leaves behind.
is_restored() {
  local project
  for project in "$ROOT"/src/*/*.csproj "$ROOT"/tests/*/*.csproj; do
    [[ -f "$(dirname -- "$project")/obj/project.assets.json" ]] || return 1
  done
  [[ "$(cat "$STATE/restored" 2>/dev/null)" == "$(restore_key)" ]]
}

ensure_restored() { is_restored || "$ROOT/scripts/restore"; }

# Says nothing unless the build fails.
build_quietly() {
  if ! dotnet build "$@" -c Release --no-restore -v quiet >"$STATE/build.log" 2>&1; then
    cat -- "$STATE/build.log" >&2
    die "the build failed"
  fi
}

# Builds $1 (a project or solution) unless the hash $3 is what the stamp $2 says was built last, and $4 exists.
ensure_built() {
  local target="$1" stamp="$STATE/$2" key="$3" output="$4"
  if [[ -f "$output" && "$(cat "$stamp" 2>/dev/null)" == "$key" ]] && is_restored; then
    return 0
  fi
  ensure_restored
  build_quietly "$ROOT/$target"
  printf '%s\n' "$key" >"$stamp"
}

# One set-up at a time: two builds of one tree spoil each other's outputs.
lock_setup() {
  mkdir -p "$STATE"
  if command -v flock >/dev/null 2>&1; then
    exec 9>"$STATE/lock"
    flock 9
  fi
}

unlock_setup() { exec 9>&-; }
