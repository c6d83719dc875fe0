internal import CLinuxSys
internal import Glibc

/// Terminals and pseudo-terminals.
public enum Terminal {
    /// Whether `descriptor` is a terminal.
    public static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Puts a terminal into raw mode: no echo, no line editing, no signals from keys, so that Ctrl-C reaches the guest. Output processing stays.
    /// Comes back after a stop (SIGCONT) in the foreground. The old settings come back by `restore`, at `ExitActions.exit` and on fatal signals. One terminal at a time (EBUSY).
    public static func makeRaw(_ descriptor: Int32) throws(Errno) {
        _ = try check(exit_make_raw(descriptor))
    }

    public static func restore(_ descriptor: Int32) { exit_restore_terminal(descriptor) }

    /// Takes the line discipline out of a pseudo-terminal of our own: bytes pass unchanged, without echo, both ways. Not undone.
    public static func disableProcessing(_ terminal: borrowing OwnedFD) throws(Errno) {
        var settings = termios()
        _ = try check(unsafe sys_tcgetattr(terminal.raw, &settings))
        unsafe cfmakeraw(&settings)
        _ = try check(unsafe sys_tcsetattr(terminal.raw, &settings))
    }
}

/// The controlling end of a new pseudo-terminal.
public struct PseudoTerminal: ~Copyable {
    /// Non-blocking.
    public let controller: OwnedFD
    /// The other end, for example "/dev/pts/3".
    public let path: String

    public init() throws(Errno) {
        let capacity = 64
        var descriptor: Int32 = -1
        var name = ""
        let result = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
            guard let start = buffer.baseAddress else { return -Int(ENOMEM) }
            let result = unsafe sys_openpty(&descriptor, start, capacity)
            if result >= 0 { name = unsafe String(cString: start) }
            return result
        }
        _ = try check(result)
        path = name
        controller = OwnedFD(adopting: descriptor)
    }
}
