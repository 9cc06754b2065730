using System.Text;

namespace Kimi.Mooncake.Store;

/// <summary>A small file that is replaced as a whole: whoever reads it sees the old text or the new.</summary>
internal static class CheckedFile
{
    /// <exception cref="IOException">The disk refuses; the file is as it was.</exception>
    public static void Replace(string path, string text, bool sync)
    {
        var next = path + ".next";
        using (var file = File.OpenHandle(next, FileMode.Create, FileAccess.Write))
        {
            RandomAccess.Write(file, Encoding.UTF8.GetBytes(text), 0);
            if (sync)
            {
                RandomAccess.FlushToDisk(file);
            }
        }

        File.Move(next, path, overwrite: true);
    }
}
