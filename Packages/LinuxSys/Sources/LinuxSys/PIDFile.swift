internal import CLinuxSys
internal import Glibc

/// A file that holds the process's id, in decimal and without a newline as StratoVirt writes it, and goes with the process.
public enum PIDFile {
    /// Makes the file with mode 0600; it is removed at the end of the process, unless another one is in its place by then. EEXIST when there is something at
    /// `path`, be it a dangling link. Nothing is left when it throws.
    public static func create(path: String) throws(Errno) {
        let file = try SysFile.open(path, [.writeOnly, .create, .exclusive])
        do throws(Errno) {
            try file.writeAll(Array(String(getpid()).utf8))
            _ = try ExitActions.remove(path: path)
        } catch {
            try? SysFile.remove(path)
            throw error
        }
    }
}
