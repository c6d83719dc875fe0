public import LinuxSys

extension Region {
    /// From now on a guest write to `offset` signals `event` and no longer reaches the device. For I/O regions and ROM devices.
    /// - Parameters:
    ///   - size: 1, 2, 4, 8, or 0 for a write of any size (then without `datamatch`, as KVM asks).
    ///   - datamatch: only a write of this value counts; nil: any.
    public func addIOEventFD(
        offset: UInt64, size: Int, datamatch: UInt64? = nil, event: EventFD
    ) throws(AddressSpaceError) {
        guard kind == .io || kind == .romDevice else { throw .wrongKind(name) }
        let fits: Bool
        switch size {
        case 0: fits = datamatch == nil
        case 1, 2, 4: fits = datamatch.map { $0 >> UInt64(size &* 8) == 0 } ?? true
        case 8: fits = true
        default: fits = false
        }
        guard fits, offset < self.size, UInt64(max(size, 1)) <= self.size &- offset else {
            throw .badIOEventFD(region: name, offset: offset)
        }
        let new = IOEventFD(address: offset, size: size, datamatch: datamatch, event: event)
        try Topology.shared.change(self) { () throws(AddressSpaceError) in
            guard !ioEventFDs.contains(where: { $0.address == offset && $0.size == size && $0.datamatch == datamatch }) else {
                throw .duplicateIOEventFD(region: name, offset: offset)
            }
            let old = ioEventFDs
            ioEventFDs.append(new)
            Topology.shared.onRollback { [self] in ioEventFDs = old }
        }
    }

    /// Undoes `addIOEventFD` with the same arguments: such writes reach the device again.
    public func removeIOEventFD(
        offset: UInt64, size: Int, datamatch: UInt64? = nil, event: EventFD
    ) throws(AddressSpaceError) {
        let gone = IOEventFD(address: offset, size: size, datamatch: datamatch, event: event)
        try Topology.shared.change(self) { () throws(AddressSpaceError) in
            guard let index = ioEventFDs.firstIndex(of: gone) else {
                throw .noSuchIOEventFD(region: name, offset: offset)
            }
            let old = ioEventFDs
            ioEventFDs.remove(at: index)
            Topology.shared.onRollback { [self] in ioEventFDs = old }
        }
    }
}
