internal import CKVM

/// Port and MMIO exits: what kvm_run says is checked once, and used as checked.
extension KVMVirtualCPU {
    func portExit() -> VCPUExit {
        // SAFETY: see `shared`; the fields are copied once.
        let io = unsafe ckvm_run_port(shared)
        let size = Int(io.size)
        guard itemsFit(offset: io.data_offset, size: size, count: io.count) else { return .unknown(reason: UInt32(KVM_EXIT_IO)) }
        return io.is_out != 0
            ? .portOut(port: io.port, size: size, count: Int(io.count)) : .portIn(port: io.port, size: size, count: Int(io.count))
    }

    func mmioExit() -> VCPUExit {
        // SAFETY: as above.
        let mmio = unsafe ckvm_run_mmio(shared)
        guard mmio.length >= 1, mmio.length <= 8 else { return .unknown(reason: UInt32(KVM_EXIT_MMIO)) }
        let size = Int(mmio.length)
        guard mmio.is_write != 0 else { return .mmioRead(address: mmio.address, size: size) }
        // Shifted in range: size is 1...8.
        let value = mmio.value & (UInt64.max >> UInt64(64 &- 8 &* size))
        return .mmioWrite(address: mmio.address, size: size, value: value)
    }

    /// The data of a port access lies wholly behind kvm_run's fields and inside the mapping.
    func itemsFit(offset: UInt64, size: Int, count: UInt32) -> Bool {
        guard size == 1 || size == 2 || size == 4, count > 0, offset >= UInt64(ckvm_run_structure_size()) else { return false }
        let bytes = UInt64(count) &* UInt64(size)
        return bytes <= UInt64(sharedSize) && offset <= UInt64(sharedSize) &- bytes
    }

    /// Where item `index` of the last port access is; nil when it is not there.
    private func item(_ index: Int, out: Bool) -> (offset: Int, size: UInt32)? {
        // SAFETY: see `shared`; the fields are copied once.
        guard unsafe ckvm_run_exit_reason(shared) == UInt32(KVM_EXIT_IO) else { return nil }
        let io = unsafe ckvm_run_port(shared)
        guard (io.is_out != 0) == out, index >= 0, index < Int(io.count),
              itemsFit(offset: io.data_offset, size: Int(io.size), count: io.count) else { return nil }
        return (Int(truncatingIfNeeded: io.data_offset) &+ index &* Int(io.size), UInt32(io.size))
    }

    public func portItem(_ index: Int) -> UInt32 {
        guard let item = item(index, out: true) else { return 0 }
        // SAFETY: `itemsFit` checked that offset + size lies inside the mapping.
        return unsafe ckvm_run_load(shared, item.offset, item.size)
    }

    public func setPortItem(_ index: Int, _ value: UInt32) {
        guard let item = item(index, out: false) else { return }
        // SAFETY: as in `portItem`.
        unsafe ckvm_run_store(shared, item.offset, item.size, value)
    }

    public func setMMIOValue(_ value: UInt64) {
        // SAFETY: a fixed field of kvm_run, 8 bytes; after another kind of exit it is only scratch space of the same union.
        unsafe ckvm_run_set_mmio(shared, value)
    }
}
