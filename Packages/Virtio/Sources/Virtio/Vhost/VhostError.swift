public import LinuxSys

/// Why the kernel's vhost cannot serve a device. The device adds which option it belongs to.
public enum VhostError: Error, Equatable, Sendable, CustomStringConvertible {
    case open(path: String, Errno)
    /// A descriptor that was handed over is something else.
    case notVhost(descriptor: Int32, Errno)
    case refused(VhostCall, Errno)
    /// The kernel's vhost has no VIRTIO_F_VERSION_1.
    case tooOld
    case ring(QueueFault)

    public var description: String {
        switch self {
        case .open(let path, let errno): "cannot open \(path): \(errno)"
        case .notVhost(let descriptor, let errno): "descriptor \(descriptor) is no vhost device: \(errno)"
        case .refused(let call, let errno): "the kernel refused \(call.name): \(errno)"
        case .tooOld: "the kernel's vhost does not know virtio 1"
        case .ring(let fault): fault.description
        }
    }
}

extension VhostError {
    /// For the transport, which knows error numbers only.
    var errno: Errno {
        switch self {
        case .open(_, let errno), .notVhost(_, let errno), .refused(_, let errno): errno
        case .tooOld: .notSupported
        case .ring: .invalid
        }
    }
}
