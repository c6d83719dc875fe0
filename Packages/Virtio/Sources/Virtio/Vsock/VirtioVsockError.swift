public import LinuxSys

/// Why there is no vsock device over unix sockets: one sentence for the user.
public enum VirtioVsockError: Error, Equatable, Sendable, CustomStringConvertible {
    /// 0 to 2 are reserved, and 2^32 - 1 is everybody.
    case badCID(UInt64)
    case cannotListen(path: String, Errno)
    /// No descriptor for events or time could be made.
    case events(Errno)

    public var description: String {
        let what =
            switch self {
            case .badCID(let cid): "guest-cid= must be a number from 3 to 4294967294, not '\(cid)'"
            case .cannotListen(let path, .addressInUse): "cannot listen on '\(path)': it is in use"
            case .cannotListen(_, .nameTooLong): "path= is longer than \(VsockListener.longestPath) bytes, so that '_PORT' does not fit behind it"
            case .cannotListen(let path, let error): "cannot listen on '\(path)': \(error)"
            case .events(let error): "cannot wait for events: \(error)"
            }
        return "-device virtio-vsock-device: \(what)"
    }
}
