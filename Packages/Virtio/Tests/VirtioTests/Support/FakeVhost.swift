import LinuxSys
import Synchronization
@testable import Virtio

/// Plays the kernel's vhost: writes down what it is told, and enforces the rules of drivers/vhost that a caller can break.
final class FakeVhost: VhostPort {
    static let allFeatures: UInt64 = 1 << 24 | 1 << 26 | 1 << 27 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | VirtioFeature.version1 | 1 << 33

    struct State {
        var calls: [VhostCall] = []
        var failures: [String: Errno] = [:]
        var hasOwner = false
        var isRunning = false
        var kicks: [UInt32: Int32] = [:]
        var callEvents: [UInt32: Int32] = [:]
        var errorEvents: [UInt32: Int32] = [:]
        var ringBase: UInt64 = 0
        /// VHOST_NET_SET_BACKEND fails for this queue.
        var refusedBackend: UInt32?
    }

    let features: UInt64
    let state = Mutex(State())

    init(features: UInt64 = FakeVhost.allFeatures) { self.features = features }

    /// What was asked so far; the list starts anew.
    func takeCalls() -> [VhostCall] {
        state.withLock { state in
            defer { state.calls = [] }
            return state.calls
        }
    }

    /// The request of this name (VHOST_...) fails from now on.
    func fail(_ name: String, _ errno: Errno?) { state.withLock { $0.failures[name] = errno } }
    var isRunning: Bool { state.withLock { $0.isRunning } }
    /// Eventfds that the kernel would still hold.
    var heldEvents: Int { state.withLock { $0.kicks.count + $0.callEvents.count + $0.errorEvents.count } }
    func kick(_ queue: UInt32) -> Int32? { state.withLock { $0.kicks[queue] } }
    func callEvent(_ queue: UInt32) -> Int32? { state.withLock { $0.callEvents[queue] } }
    func errorEvent(_ queue: UInt32) -> Int32? { state.withLock { $0.errorEvents[queue] } }

    func perform(_ call: VhostCall) throws(Errno) -> UInt64 {
        try state.withLock { state throws(Errno) in
            state.calls.append(call)
            if let failure = state.failures[call.name] { throw failure }
            switch call {
            case .getFeatures: return features
            case .getBackendFeatures: return 0
            case .setOwner:
                if state.hasOwner { throw Errno(16) }
                state.hasOwner = true
            case .setGuestCID(let cid):
                if cid < 3 || cid >= 0xffff_ffff { throw .invalid }
            default:
                guard state.hasOwner else { throw .notPermitted }
            }
            switch call {
            case .setFeatures(let wanted): if wanted & ~features != 0 { throw .notSupported }
            case .setMemory(let regions): if regions.count > 64 { throw Errno(7) }
            case .setRingSize(_, let size):
                if state.isRunning { throw Errno(16) }
                if size == 0 || size > 0xffff || size & (size - 1) != 0 { throw .invalid }
            case .setRingBase: if state.isRunning { throw Errno(16) }
            case .getRingBase: return state.ringBase
            case .setRingAddresses(_, let ring):
                if ring.available & 1 != 0 || ring.used & 3 != 0 { throw .invalid }
            case .setKick(let queue, let event): state.kicks[queue] = event == -1 ? nil : event
            case .setCall(let queue, let event): state.callEvents[queue] = event == -1 ? nil : event
            case .setError(let queue, let event): state.errorEvents[queue] = event == -1 ? nil : event
            case .setRunning(let on): state.isRunning = on
            case .setNetBackend(let queue, let tap): if tap >= 0, queue == state.refusedBackend { throw .invalid }
            default: break
            }
            return 0
        }
    }
}
