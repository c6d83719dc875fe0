internal import CVhost
internal import LinuxSys

/// An open vhost device of the kernel.
final class VhostDescriptor: VhostPort {
    private let file: OwnedFD

    init(_ file: consuming OwnedFD) { self.file = file }

    func perform(_ call: VhostCall) throws(Errno) -> UInt64 {
        let fd = file.raw
        var value: UInt64 = 0
        let result: Int
        // SAFETY: each shim copies what it is given into the kernel's structure, and writes no more than the one value asked for.
        switch call {
        case .setOwner: result = cvhost_set_owner(fd)
        case .getFeatures: result = unsafe cvhost_get_features(fd, &value)
        case .setFeatures(let features): result = cvhost_set_features(fd, features)
        case .getBackendFeatures: result = unsafe cvhost_get_backend_features(fd, &value)
        case .setBackendFeatures(let features): result = cvhost_set_backend_features(fd, features)
        case .setMemory(let regions):
            let table = regions.map { cvhost_region(guest_address: $0.guestAddress, size: $0.size, host_address: $0.hostAddress) }
            result = unsafe table.withUnsafeBufferPointer { unsafe cvhost_set_memory(fd, $0.baseAddress, UInt32(clamping: $0.count)) }
        case .setRingSize(let queue, let size): result = cvhost_set_ring_size(fd, queue, size)
        case .setRingBase(let queue, let base): result = cvhost_set_ring_base(fd, queue, base)
        case .getRingBase(let queue):
            var base: UInt32 = 0
            result = unsafe cvhost_get_ring_base(fd, queue, &base)
            value = UInt64(base)
        case .setRingAddresses(let queue, let ring):
            result = cvhost_set_ring_addresses(fd, queue, UInt64(ring.descriptors), UInt64(ring.available), UInt64(ring.used))
        case .setKick(let queue, let event): result = cvhost_set_ring_kick(fd, queue, event)
        case .setCall(let queue, let event): result = cvhost_set_ring_call(fd, queue, event)
        case .setError(let queue, let event): result = cvhost_set_ring_error(fd, queue, event)
        case .setNetBackend(let queue, let tap): result = cvhost_net_set_backend(fd, queue, tap)
        case .setGuestCID(let cid): result = cvhost_vsock_set_guest_cid(fd, cid)
        case .setRunning(let on): result = cvhost_vsock_set_running(fd, on ? 1 : 0)
        }
        if result < 0 { throw Errno(Int32(truncatingIfNeeded: 0 &- result)) }
        return value
    }
}
