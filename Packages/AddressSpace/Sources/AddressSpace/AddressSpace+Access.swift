internal import LinuxSys

/// One access of a vCPU, as exits bring it. Any thread; no lock is taken and nothing is allocated.
extension AddressSpace {
    /// A read of 1...8 bytes, little endian. Nil when nothing answers: a hole, an access that spans two regions
    /// (buses do not split accesses), or another size. The caller gives the guest all ones then.
    public func read(at gpa: UInt64, size: Int) -> UInt64? {
        guard size >= 1, size <= 8 else { return nil }
        let ops: any RegionOps
        let offset: UInt64
        let widest: Int
        do {
            let ticket = publisher.gate.enter()
            defer { publisher.gate.leave(ticket) }
            let table = unsafe publisher.table
            guard let index = unsafe table.pointee.entryIndex(at: gpa) else { return nil }
            // SAFETY: entryIndex returns indices inside entries; the table is valid until the section is left.
            let entry = unsafe table.pointee.entries.baseAddress.unsafelyUnwrapped + index
            let skip = unsafe gpa &- entry.pointee.base
            guard unsafe UInt64(size &- 1) <= entry.pointee.last &- gpa else { return nil }
            if unsafe entry.pointee.kind != .io {
                // SAFETY: size bytes from skip on are inside the range, and the range inside its mapping.
                return unsafe RawMemory.load(entry.pointee.host &+ UInt(truncatingIfNeeded: skip), size: size)
            }
            guard let found = unsafe entry.pointee.ops else { return nil }
            ops = found
            offset = unsafe entry.pointee.offset &+ skip
            widest = unsafe Int(entry.pointee.maxAccessSize)
        }
        if size <= widest { return ops.read(offset: offset, size: size) & mask(size) }
        var value: UInt64 = 0
        var done = 0
        while done < size {
            let part = min(widest, size &- done)
            value |= (ops.read(offset: offset &+ UInt64(done), size: part) & mask(part)) << UInt64(done &* 8)
            done &+= part
        }
        return value
    }

    /// A write of the low 1...8 bytes of `value`. False when nothing took it: as for `read`, or read-only memory.
    @discardableResult
    public func write(at gpa: UInt64, size: Int, value: UInt64) -> Bool {
        guard size >= 1, size <= 8 else { return false }
        let value = value & mask(size)
        let ops: any RegionOps
        let offset: UInt64
        let widest: Int
        var event: EventFD?
        do {
            let ticket = publisher.gate.enter()
            defer { publisher.gate.leave(ticket) }
            let table = unsafe publisher.table
            guard let index = unsafe table.pointee.entryIndex(at: gpa) else { return false }
            // SAFETY: as in read.
            let entry = unsafe table.pointee.entries.baseAddress.unsafelyUnwrapped + index
            let skip = unsafe gpa &- entry.pointee.base
            guard unsafe UInt64(size &- 1) <= entry.pointee.last &- gpa else { return false }
            switch unsafe entry.pointee.kind {
            case .ram, .ramDevice:
                guard unsafe !entry.pointee.readOnly else { return false }
                // SAFETY: as in read; the mapping is writable, since the region is not read-only.
                unsafe RawMemory.store(value, entry.pointee.host &+ UInt(truncatingIfNeeded: skip), size: size)
                return true
            case .io, .romDevice: break
            }
            if matchesIOEventFDsInSoftware {
                event = unsafe table.pointee.event(address: gpa, size: size, value: value)
            }
            guard let found = unsafe entry.pointee.ops else { return false }
            ops = found
            offset = unsafe entry.pointee.offset &+ skip
            widest = unsafe Int(entry.pointee.maxAccessSize)
        }
        if let event {
            event.signal()
            return true
        }
        if size <= widest {
            ops.write(offset: offset, size: size, value: value)
            return true
        }
        var done = 0
        while done < size {
            let part = min(widest, size &- done)
            ops.write(offset: offset &+ UInt64(done), size: part, value: (value >> UInt64(done &* 8)) & mask(part))
            done &+= part
        }
        return true
    }
}

/// The low `size` bytes; `size` is 1...8.
@inline(__always)
private func mask(_ size: Int) -> UInt64 { UInt64.max >> UInt64(64 &- size &* 8) }
