public import LinuxSys

/// Why there is no vsock device: one sentence for the user.
public struct VsockError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Reason: Equatable, Sendable {
        /// 0 to 2 are reserved, and a CID has 32 bits.
        case badCID
        case inUse
        case vhost(VhostError)
        /// No eventfd could be made.
        case event(Errno)
    }

    public let guestCID: UInt64
    public let reason: Reason

    public var description: String {
        let what =
            switch reason {
            case .badCID: "guest-cid= must be a number from 3 to 4294967295, not '\(guestCID)'"
            case .inUse: "another virtual machine uses guest-cid=\(guestCID)"
            case .vhost(let error): error.description
            case .event(let errno): "cannot create an eventfd: \(errno)"
            }
        return "-device vhost-vsock-device: \(what)"
    }
}
