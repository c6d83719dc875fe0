internal import AddressSpace
public import LinuxSys

/// One request to the kernel's vhost, the part of a virtio device that Linux can serve itself (linux/vhost.h). A `queue` counts from 0 within the
/// vhost descriptor, not within the virtio device.
public enum VhostCall: Equatable, Sendable {
    /// Ties the descriptor to this process's memory; before everything that names memory. Once: EBUSY.
    case setOwner
    case getFeatures
    case setFeatures(UInt64)
    case getBackendFeatures
    case setBackendFeatures(UInt64)
    case setMemory([VhostRegion])
    case setRingSize(queue: UInt32, UInt32)
    case setRingBase(queue: UInt32, UInt32)
    case getRingBase(queue: UInt32)
    case setRingAddresses(queue: UInt32, VhostRing)
    /// The eventfd that says "buffers were added"; -1: none.
    case setKick(queue: UInt32, Int32)
    /// The eventfd that the kernel signals when buffers were used; -1: none.
    case setCall(queue: UInt32, Int32)
    /// The eventfd that the kernel signals when it can make no sense of a ring; -1: none.
    case setError(queue: UInt32, Int32)
    /// vhost-net: the tap that serves the queue from now on; -1: stop.
    case setNetBackend(queue: UInt32, Int32)
    /// vhost-vsock.
    case setGuestCID(UInt64)
    /// vhost-vsock.
    case setRunning(Bool)

    /// The request's name in linux/vhost.h, for messages.
    var name: String {
        switch self {
        case .setOwner: "VHOST_SET_OWNER"
        case .getFeatures: "VHOST_GET_FEATURES"
        case .setFeatures: "VHOST_SET_FEATURES"
        case .getBackendFeatures: "VHOST_GET_BACKEND_FEATURES"
        case .setBackendFeatures: "VHOST_SET_BACKEND_FEATURES"
        case .setMemory: "VHOST_SET_MEM_TABLE"
        case .setRingSize: "VHOST_SET_VRING_NUM"
        case .setRingBase: "VHOST_SET_VRING_BASE"
        case .getRingBase: "VHOST_GET_VRING_BASE"
        case .setRingAddresses: "VHOST_SET_VRING_ADDR"
        case .setKick: "VHOST_SET_VRING_KICK"
        case .setCall: "VHOST_SET_VRING_CALL"
        case .setError: "VHOST_SET_VRING_ERR"
        case .setNetBackend: "VHOST_NET_SET_BACKEND"
        case .setGuestCID: "VHOST_VSOCK_SET_GUEST_CID"
        case .setRunning: "VHOST_VSOCK_SET_RUNNING"
        }
    }
}

/// Guest RAM as the kernel is told of it.
public struct VhostRegion: Equatable, Sendable {
    public let guestAddress: UInt64
    /// Bytes.
    public let size: UInt64
    /// In this process.
    public let hostAddress: UInt64
}

/// Answers vhost requests: the kernel, or a test in its place. Any thread; calls do not overlap.
public protocol VhostPort: AnyObject, Sendable {
    /// What the request reads; 0 for the others.
    @discardableResult
    func perform(_ call: VhostCall) throws(Errno) -> UInt64
}
