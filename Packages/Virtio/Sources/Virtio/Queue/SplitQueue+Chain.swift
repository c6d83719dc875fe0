internal import AddressSpace

extension SplitQueue {
    /// Copies every descriptor of the chain at `head` once, checks the copies, and turns them into host addresses.
    func walk(from head: UInt16, into chain: DescriptorChain) throws(QueueFault) {
        chain.begin(head: head)
        var table = descriptors
        var tableSize = Int(size)
        // Each step visits one descriptor, so a loop ends here whatever its shape.
        var stepsLeft = tableSize
        var index = head
        var isIndirect = false
        while true {
            guard stepsLeft > 0 else { throw .chainTooLong }
            stepsLeft &-= 1
            let descriptor = table.descriptor(index)
            if descriptor.isIndirect {
                guard !isIndirect else { throw .nestedIndirect }
                table = try indirectTable(descriptor)
                tableSize = Int(descriptor.length) / Descriptor.size
                stepsLeft = maximumChainLength
                index = 0
                isIndirect = true
                continue
            }
            try append(descriptor, to: chain)
            guard descriptor.hasNext else { return }
            guard Int(descriptor.next) < tableSize else { throw .nextOutOfRange(descriptor.next) }
            index = descriptor.next
        }
    }

    /// Virtio 1.2, section 2.7.5.3; the descriptor's WRITE flag says nothing.
    private func indirectTable(_ descriptor: Descriptor) throws(QueueFault) -> RingArea {
        guard allowsIndirect else { throw .indirectNotNegotiated }
        guard !descriptor.hasNext else { throw .indirectWithNext }
        let length = descriptor.length
        guard length != 0, length % UInt32(Descriptor.size) == 0, Int(length) <= maximumChainLength &* Descriptor.size else {
            throw .badIndirectLength(length)
        }
        do {
            return RingArea(try finder.hostRange(at: descriptor.address, count: UInt64(length), for: .read))
        } catch {
            throw .indirectTableOutsideRAM
        }
    }

    private func append(_ descriptor: Descriptor, to chain: DescriptorChain) throws(QueueFault) {
        let isWritable = descriptor.isWritable
        try chain.turn(writable: isWritable)
        guard descriptor.length != 0 else { return }
        let access: GuestMemory.Access = isWritable ? .write : .read
        let range: HostRange
        do throws(GuestMemoryError) {
            range = try finder.hostRange(at: descriptor.address, count: UInt64(descriptor.length), for: access)
        } catch {
            guard case .notContiguous = error else { throw .bufferOutsideRAM }
            return try appendPieces(descriptor, access, to: chain)
        }
        try chain.append(range)
    }

    /// A buffer that spans RAM regions which are neighbours in the guest but not in this process.
    @inline(never)
    private func appendPieces(_ descriptor: Descriptor, _ access: GuestMemory.Access, to chain: DescriptorChain) throws(QueueFault) {
        var fault: QueueFault?
        do {
            try memory.forEachHostRange(at: descriptor.address, count: UInt64(descriptor.length), for: access) { range in
                guard fault == nil else { return }
                do throws(QueueFault) { try chain.append(range) } catch { fault = error }
            }
        } catch {
            throw .bufferOutsideRAM
        }
        if let fault { throw fault }
    }
}
