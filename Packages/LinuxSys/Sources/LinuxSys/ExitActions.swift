internal import CLinuxSys
internal import Glibc

/// What must not be left behind when the process ends, however it ends (short of SIGKILL): raw terminals and socket files. Any thread.
public enum ExitActions {
    /// A file that is removed at the end of the process.
    public struct Path: Sendable { let slot: Int }

    /// Registers the file that is at `path` now for removal; at most 64 paths of less than 4096 bytes. A file that takes its place is left alone.
    public static func remove(path: String) throws(Errno) -> Path {
        Path(slot: try check(unsafe exit_add_path(path)))
    }

    /// Removes a registered file now.
    public static func removeNow(_ path: Path) { exit_remove_path(path.slot) }

    /// The file stays after all.
    public static func keep(_ path: Path) { exit_keep_path(path.slot) }

    /// From now on a signal that ends the process (SIGSEGV, SIGABRT, SIGQUIT, SIGUSR1, ...; not SIGKILL) also undoes everything before the process dies of it.
    /// Threads that `OSThread` starts, and the calling one, can overflow their stacks and still be covered.
    public static func coverFatalSignals() {
        // For the life of the process.
        _ = unsafe sys_signal_stack_make()
        exit_catch_fatal_signals()
    }

    /// Restores the terminal, removes the registered files, then ends the process at once, running no destructors: other threads may still be in the kernel.
    public static func exit(_ code: Int32) -> Never {
        exit_undo_all()
        _exit(code)
    }
}
