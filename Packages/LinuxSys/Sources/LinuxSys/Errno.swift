internal import CLinuxSys
internal import Glibc

/// An error number of a system call, as in errno(3).
public struct Errno: Error, Equatable, Hashable, Sendable, CustomStringConvertible {
    public let code: Int32

    @inlinable
    public init(_ code: Int32) { self.code = code }

    /// The C library's sentence for the number, for example "No such file or directory".
    public var description: String {
        // SAFETY: strerror returns a NUL-terminated string that stays valid until the thread's next call; it is copied at once.
        unsafe String(cString: strerror(code))
    }

    public static let notPermitted = Errno(EPERM)
    public static let noEntry = Errno(ENOENT)
    public static let interrupted = Errno(EINTR)
    public static let io = Errno(EIO)
    public static let badDescriptor = Errno(EBADF)
    public static let again = Errno(EAGAIN)
    public static let noMemory = Errno(ENOMEM)
    public static let accessDenied = Errno(EACCES)
    public static let fault = Errno(EFAULT)
    public static let noSpace = Errno(ENOSPC)
    public static let isDirectory = Errno(EISDIR)
    public static let noDevice = Errno(ENODEV)
    public static let exists = Errno(EEXIST)
    public static let invalid = Errno(EINVAL)
    public static let notSupported = Errno(EOPNOTSUPP)
    public static let notImplemented = Errno(ENOSYS)
    public static let nameTooLong = Errno(ENAMETOOLONG)
    public static let connectionRefused = Errno(ECONNREFUSED)
    public static let addressInUse = Errno(EADDRINUSE)
    public static let brokenPipe = Errno(EPIPE)
    public static let notTypewriter = Errno(ENOTTY)
    public static let connectionReset = Errno(ECONNRESET)
    public static let wrongSocketType = Errno(EPROTOTYPE)
    public static let notConnected = Errno(ENOTCONN)
    public static let tooManyFiles = Errno(EMFILE)
}

/// Turns the result of a `sys_` shim (a value, or a negated errno) into a value or a thrown `Errno`.
@inline(__always)
package func check(_ result: Int) throws(Errno) -> Int {
    if result < 0 { throw Errno(Int32(truncatingIfNeeded: 0 &- result)) }
    return result
}

/// As `check`, but repeats a call that a signal interrupted.
@inline(__always)
func retryInterrupted(_ call: () -> Int) throws(Errno) -> Int {
    while true {
        let result = call()
        if result != -Int(EINTR) { return try check(result) }
    }
}
