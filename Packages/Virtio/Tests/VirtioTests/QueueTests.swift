import AddressSpace
import HypervisorTesting
import Testing
@testable import Virtio

@Suite struct QueueTests {
    private func queue(_ guest: Guest, size: UInt16 = 8, features: UInt64 = VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex) throws -> SplitQueue {
        guest.queueSize = size
        return try SplitQueue(
            QueueConfiguration(
                size: UInt32(size), descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used),
            maximumSize: 256, features: features, memory: guest.memory)
    }

    @Test func chain_ofDirectDescriptors_isSplitIntoItsTwoParts() throws {
        let guest = try Guest()
        let queue = try queue(guest)
        let chain = DescriptorChain(maximumLength: queue.maximumChainLength)
        try guest.writeTable([.readable(0x10000, 4), .readable(0x10100, 12), .writable(0x10200, 7)], first: 2)
        try guest.fill(0x10000, [1, 2, 3, 4])
        try guest.fill(0x10100, [5, 6, 7, 8])
        try guest.offer(2)
        #expect(try queue.pop(into: chain))
        #expect(chain.head == 2)
        #expect(chain.readableBytes == 16)
        #expect(chain.writableBytes == 7)
        #expect(chain.readInteger(UInt32.self, at: 2) == 0x0605_0403)
        #expect(chain.readInteger(UInt64.self, at: 9) == nil)
        #expect(!chain.writePrefix([UInt8](repeating: 1, count: 8)))
        #expect(chain.writePrefix([9, 9, 9]))
        #expect(try guest.bytes(0x10200, 4) == [9, 9, 9, 0])
        #expect(try !queue.pop(into: chain))
    }

    @Test func chain_ofDirectDescriptorsThenATable_isOneChain() throws {
        let guest = try Guest()
        let queue = try queue(guest)
        let chain = DescriptorChain(maximumLength: queue.maximumChainLength)
        // Section 2.7.5.3.2: zero or more direct descriptors, then one indirect; its WRITE flag says nothing. An odd table address is allowed.
        for table in [Guest.Place.table, Guest.Place.table + 3] {
            try guest.writeTable([.readable(0x10100, 12), .writable(0x10200, 7)], at: table)
            try guest.writeTable([.readable(0x10000, 4), Buffer(address: table, length: 32, flags: Descriptor.indirect | Descriptor.write)])
            try guest.offer(0)
            #expect(try queue.pop(into: chain))
            #expect(chain.readableBytes == 16)
            #expect(chain.writableBytes == 7)
        }
    }

    @Test func chain_longerThanTheRing_isAcceptedInATable() throws {
        let guest = try Guest()
        let queue = try queue(guest, size: 2)
        let chain = DescriptorChain(maximumLength: queue.maximumChainLength)
        try guest.writeTable((0..<256).map { .writable(0x20000 + UInt64($0) * 16, 16) }, at: 0x30000)
        try guest.writeTable([Buffer(address: 0x30000, length: 4096, flags: Descriptor.indirect)])
        try guest.offer(0)
        #expect(try queue.pop(into: chain))
        #expect(chain.writableBytes == 4096)
        // Of more segments than a chain has room for at first.
        let pattern = (0..<4096).map { UInt8(truncatingIfNeeded: $0 / 16 ^ $0) }
        #expect(chain.writePrefix(pattern))
        #expect(try guest.bytes(0x20000, 4096) == pattern)
    }

    @Test func buffers_ofNoBytes_areSkipped() throws {
        let guest = try Guest()
        let queue = try queue(guest)
        let chain = DescriptorChain(maximumLength: queue.maximumChainLength)
        try guest.writeTable([.readable(0x10000, 16), .readable(.max, 0), .writable(0, 0), .writable(0x10200, 1)])
        try guest.offer(0)
        #expect(try queue.pop(into: chain))
        #expect(chain.readableBytes == 16)
        #expect(chain.writableBytes == 1)
    }

    @Test func pop_undone_returnsTheSameChainAgain() throws {
        let guest = try Guest()
        let queue = try queue(guest)
        let chain = DescriptorChain(maximumLength: queue.maximumChainLength)
        try guest.writeTable([.writable(0x10000, 5)], first: 3)
        try guest.offer(3)
        #expect(try queue.pop(into: chain))
        queue.undoPop()
        #expect(try queue.pop(into: chain))
        #expect(chain.head == 3)
        #expect(try !queue.pop(into: chain))
    }

    @Test func used_entries_appearOnlyWhenPublished() throws {
        let guest = try Guest()
        let queue = try queue(guest)
        queue.push(head: 4, written: 77)
        #expect(try guest.newUsed() == [])
        #expect(queue.publish())
        #expect(try guest.newUsed() == [UsedEntry(id: 4, length: 77)])
        #expect(!queue.publish())
    }

    @Test func queue_afterDisable_touchesNothing() throws {
        let guest = try Guest()
        let queue = try queue(guest)
        let chain = DescriptorChain(maximumLength: queue.maximumChainLength)
        try guest.writeTable([.writable(0x10000, 5)])
        try guest.offer(0)
        queue.disable()
        #expect(try !queue.pop(into: chain))
        queue.push(head: 0, written: 1)
        #expect(!queue.publish())
        #expect(try !queue.enableNotifications())
        #expect(try guest.bytes(Guest.Place.used, 0x100).allSatisfy { $0 == 0 })
    }
}
