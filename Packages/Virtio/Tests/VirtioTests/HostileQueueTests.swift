import AddressSpace
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Guests that break the rings. Numbers are the bug classes of a virtual machine monitor's history that a test stands for.
@Suite struct HostileQueueTests {
    /// The device has asked for a reset, told the driver, leaves the rings alone, and works again after the reset.
    private func expectReset(_ guest: Guest, sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(guest.status.contains(.needsReset), sourceLocation: sourceLocation)
        #expect(guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0, sourceLocation: sourceLocation)
        #expect(guest.transport.statistics.resetsRequested > 0, sourceLocation: sourceLocation)
        let before = try guest.bytes(Guest.Place.used, 0x900)
        guest.serve()
        #expect(try guest.bytes(Guest.Place.used, 0x900) == before, sourceLocation: sourceLocation)
        #expect(try guest.start(), sourceLocation: sourceLocation)
        #expect(try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)]).status == BlockStatus.ok, sourceLocation: sourceLocation)
    }

    private func activate(_ guest: Guest, _ configuration: QueueConfiguration) {
        guest.negotiate()
        guest.setUpQueue(configuration)
        guest.write(.status, 15)
        guest.serve()
    }

    private func good(_ size: UInt32 = 256) -> QueueConfiguration {
        QueueConfiguration(size: size, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used)
    }

    // MARK: 1. Queue registers (CVE-2026-5747)

    @Test(arguments: [0, 3, 5, 255, 257, 512, 32768, 32769, 65535, 65536, 65536 + 256, 0x8000_0000, .max] as [UInt32])
    func class1_queueSizeOutOfRange_needsReset(size: UInt32) throws {
        let guest = try Guest()
        activate(guest, good(size))
        try expectReset(guest)
    }

    @Test(arguments: [1, 2, 4, 128, 256] as [UInt32]) func everyAllowedSize_works(size: UInt32) throws {
        let guest = try Guest()
        try guest.start(queueSize: UInt16(size))
        for _ in 0..<600 {
            #expect(try guest.request(RequestType.flush, indirect: true).status == BlockStatus.ok)
        }
    }

    @Test func class1_misalignedRings_needReset() throws {
        for offset in [1, 2, 4, 8, 15] as [UInt64] {
            let guest = try Guest()
            var configuration = good()
            configuration.descriptorTable += offset
            activate(guest, configuration)
            try expectReset(guest)
        }
        for change in [{ $0.availableRing += 1 }, { $0.usedRing += 1 }, { $0.usedRing += 2 }, { $0.usedRing += 3 }] as [(inout QueueConfiguration) -> Void] {
            let guest = try Guest()
            var configuration = good()
            change(&configuration)
            activate(guest, configuration)
            try expectReset(guest)
        }
    }

    @Test func class1_ringsOutsideRAM_needReset() throws {
        let end = Guest.ramSize + Guest.secondRAM
        // Wholly outside, across the end, across two mappings, at the top of the address space (the end wraps).
        for address in [end, end - 16, Guest.ramSize - 16, 0xf010_0000, 1 << 39, 1 << 40, 1 << 63, .max & ~15] as [UInt64] {
            for change in [{ $0.descriptorTable = $1 }, { $0.availableRing = $1 }, { $0.usedRing = $1 }] as [(inout QueueConfiguration, UInt64) -> Void] {
                let guest = try Guest()
                var configuration = good()
                change(&configuration, address)
                activate(guest, configuration)
                try expectReset(guest)
            }
        }
    }

    @Test func class1_queueRegistersAfterReadyOrDriverOK_areFrozen() throws {
        let guest = try Guest()
        let registers: [MMIORegister] = [
            .queueSize, .queueDescriptorLow, .queueDescriptorHigh, .queueDriverLow, .queueDriverHigh, .queueDeviceLow, .queueDeviceHigh,
        ]
        func configuration() -> QueueConfiguration { guest.transport.state.withLock { $0.queues[0].configuration } }
        // Before FEATURES_OK.
        guest.write(.status, 3)
        for register in registers { guest.write(register, 0x4242) }
        #expect(configuration() == QueueConfiguration())
        // Between ready and DRIVER_OK.
        guest.negotiate()
        guest.setUpQueue(good())
        for register in registers { guest.write(register, 0x4242) }
        #expect(configuration() == good())
        // After DRIVER_OK: neither the registers nor the queue in use change.
        guest.write(.status, 15)
        for register in registers { guest.write(register, 0) }
        #expect(configuration() == good())
        #expect(try guest.request(RequestType.flush).status == BlockStatus.ok)
        #expect(guest.transport.statistics.ignoredAccesses == UInt64(3 * registers.count))
    }

    @Test func class2_queueSelectOutOfRange_readsZeroAndIgnoresWrites() throws {
        let guest = try Guest()
        guest.negotiate()
        for select in [1, 2, 255, 65535, 0x8000_0000, .max] as [UInt32] {
            guest.write(.queueSelect, select)
            #expect(guest.read(.queueSizeMaximum) == 0)
            #expect(guest.read(.queueReady) == 0)
            guest.write(.queueSize, 8)
            guest.write(.queueReady, 1)
            guest.write(.queueDescriptorLow, 1)
            #expect(guest.read(.queueReady) == 0)
        }
        guest.write(.queueSelect, 0)
        #expect(guest.transport.state.withLock { $0.queues[0].configuration } == QueueConfiguration())
    }

    @Test func class20_notifyOfAQueueThatIsNot_isIgnored() throws {
        let guest = try Guest()
        try guest.start()
        for index in [1, 2, 0xffff, 0x10000, 0x8000_0000, .max] as [UInt32] { guest.write(.queueNotify, index) }
        #expect(guest.transport.notifications[0].drain() == 0)
        #expect(guest.transport.statistics.ignoredAccesses == 6)
    }

    @Test func class14_notReadyQueue_isNeverTouched() throws {
        let guest = try Guest()
        guest.negotiate()
        guest.setUpQueue(good())
        guest.write(.queueReady, 0)
        guest.write(.status, 15)
        try guest.offer(0)
        guest.write(.queueNotify, 0)
        guest.serve()
        #expect(guest.status.rawValue == 15)
        #expect(try guest.newUsed() == [])
    }

    // MARK: 19. Chains (CVE-2016-5403)

    @Test func class19_availableIndexJumpsByMoreThanTheQueue_needsReset() throws {
        for jump in [257, 300, 32768, 65535] as [UInt16] {
            let guest = try Guest()
            try guest.start()
            try guest.memory.storeRelease16(jump, at: Guest.Place.available + 2)
            guest.serve()
            try expectReset(guest)
        }
        // Going backwards is the same.
        let guest = try Guest()
        try guest.start()
        _ = try guest.request(RequestType.flush)
        try guest.memory.storeRelease16(0, at: Guest.Place.available + 2)
        guest.serve()
        try expectReset(guest)
    }

    @Test func class19_descriptorLoops_needReset() throws {
        for size in [1, 2, 8, 256] as [UInt16] {
            for length in 1...min(3, Int(size)) {
                let guest = try Guest()
                try guest.start(queueSize: size)
                var loop = (0..<length).map { _ in Buffer.readable(Guest.Place.data, 16) }
                loop[length - 1].next = 0
                try guest.writeTable(loop)
                try guest.offer(0)
                guest.serve()
                try expectReset(guest)
            }
        }
    }

    @Test func class19_loopOfEmptyBuffersInATable_needsReset() throws {
        let guest = try Guest()
        try guest.start()
        try guest.writeTable([Buffer(address: 0, length: 0, next: 0)], at: Guest.Place.table)
        try guest.writeTable([Buffer(address: Guest.Place.table, length: 4096, flags: Descriptor.indirect)])
        try guest.offer(0)
        guest.serve()
        try expectReset(guest)
    }

    @Test func class19_headOrNextOutOfRange_needsReset() throws {
        for head in [8, 9, 256, 32768, 65535] as [UInt16] {
            let guest = try Guest()
            try guest.start(queueSize: 8)
            try guest.offer(head)
            guest.serve()
            try expectReset(guest)
            try guest.start(queueSize: 8)
            try guest.writeTable([Buffer(address: Guest.Place.header, length: 16, next: head)])
            try guest.offer(0)
            guest.serve()
            try expectReset(guest)
        }
    }

    @Test func class19_badIndirectTables_needReset() throws {
        let table = Guest.Place.table
        let bad: [Buffer] = [
            Buffer(address: table, length: 0, flags: Descriptor.indirect),
            Buffer(address: table, length: 1, flags: Descriptor.indirect),
            Buffer(address: table, length: 15, flags: Descriptor.indirect),
            Buffer(address: table, length: 17, flags: Descriptor.indirect),
            Buffer(address: table, length: 257 * 16, flags: Descriptor.indirect),
            Buffer(address: table, length: 0xffff_fff0, flags: Descriptor.indirect),
            // INDIRECT and NEXT.
            Buffer(address: table, length: 16, flags: Descriptor.indirect, next: 1),
            // Outside RAM, across its end, at the top of the address space.
            Buffer(address: 1 << 39, length: 16, flags: Descriptor.indirect),
            Buffer(address: Guest.ramSize + Guest.secondRAM - 8, length: 16, flags: Descriptor.indirect),
            Buffer(address: .max - 15, length: 32, flags: Descriptor.indirect),
        ]
        for buffer in bad {
            let guest = try Guest()
            try guest.start()
            try guest.writeTable([.writable(Guest.Place.data, 16)], at: table)
            try guest.writeTable([buffer])
            try guest.offer(0)
            guest.serve()
            try expectReset(guest)
        }
    }

    @Test func class19_indirectInsideIndirect_needsReset() throws {
        let guest = try Guest()
        try guest.start()
        try guest.writeTable([Buffer(address: Guest.Place.table, length: 16, flags: Descriptor.indirect)], at: Guest.Place.table)
        try guest.writeTable([Buffer(address: Guest.Place.table, length: 16, flags: Descriptor.indirect)])
        try guest.offer(0)
        guest.serve()
        try expectReset(guest)
    }

    @Test func class19_indirectWithoutNegotiation_needsReset() throws {
        let guest = try Guest()
        try guest.start(features: guest.offeredFeatures & ~VirtioFeature.indirectDescriptors)
        try guest.writeTable(guest.chain([]), at: Guest.Place.table)
        try guest.writeTable([Buffer(address: Guest.Place.table, length: 32, flags: Descriptor.indirect)])
        try guest.offer(0)
        guest.serve()
        try expectReset(guest)
    }

    // MARK: 3, 7, 18. Buffers (CVE-2019-18960, CVE-2021-3416)

    @Test func class3_buffersOutsideRAMOrWrapping_needReset() throws {
        let end = Guest.ramSize + Guest.secondRAM
        let bad: [(UInt64, UInt32)] = [
            (end, 1), (end - 1, 2), (0xf010_0000, 512), (1 << 39, 512), (1 << 40, 512), (.max, 1), (.max, 2), (.max - 511, 512), (.max - 511, .max),
            (Guest.Place.data, .max), (0, .max), (end - 512, 513),
        ]
        for (address, length) in bad {
            for flags in [0, Descriptor.write] {
                let guest = try Guest()
                try guest.start()
                try guest.writeHeader(flags == 0 ? RequestType.write : RequestType.read, sector: 0)
                try guest.writeTable(guest.chain([Buffer(address: address, length: length, flags: flags)]))
                try guest.offer(0)
                guest.serve()
                #expect(guest.fake.started.isEmpty)
                try expectReset(guest)
            }
        }
    }

    @Test func class3_readableAfterWritable_needsReset() throws {
        let guest = try Guest()
        try guest.start()
        try guest.writeTable([.writable(Guest.Place.status, 1), .readable(Guest.Place.header, 16)])
        try guest.offer(0)
        guest.serve()
        try expectReset(guest)
    }

    @Test func class7_overlappingBuffersBeyond4GiB_needReset() throws {
        let guest = try Guest()
        try guest.start(queueSize: 256)
        // All of RAM 254 times: far more than there is, and an error of the request without an allocation.
        let large = (0..<254).map { _ in Buffer.writable(0, UInt32(Guest.ramSize)) }
        let result = try guest.request(RequestType.read, large)
        #expect(result.status == BlockStatus.ioError)
        #expect(guest.fake.started.isEmpty)
        // Over 2^32 bytes need more memory than the test has, so the limit is tried on the chain itself.
        let chain = DescriptorChain(maximumLength: 4)
        chain.begin(head: 0)
        let range = try guest.memory.hostRange(at: 0, count: Guest.ramSize)
        var fault: QueueFault?
        let wide = DescriptorChain(maximumLength: 2048)
        wide.begin(head: 0)
        do throws(QueueFault) { for _ in 0..<2048 { try wide.append(range) } } catch { fault = error }
        #expect(fault == .chainTooLarge)
        fault = nil
        do throws(QueueFault) { for _ in 0..<5 { try chain.append(range) } } catch { fault = error }
        #expect(fault == .chainTooLong)
    }

    @Test func faults_inALoop_areCounted() throws {
        let guest = try Guest()
        for _ in 0..<1000 {
            try guest.start()
            try guest.offer(9999)
            guest.serve()
        }
        #expect(guest.transport.statistics.resetsRequested == 1000)
        try expectReset(guest)
    }
}
