internal import CLinuxSys
internal import Glibc

extension Terminal {
    /// Takes the line discipline out of a pseudo-terminal of our own: bytes pass unchanged, without echo, both ways. Not undone.
    public static func disableProcessing(_ terminal: borrowing OwnedFD) throws(Errno) {
        var settings = termios()
        _ = try check(unsafe sys_tcgetattr(terminal.raw, &settings))
        unsafe cfmakeraw(&settings)
        _ = try check(unsafe sys_tcsetattr(terminal.raw, &settings))
    }
}
