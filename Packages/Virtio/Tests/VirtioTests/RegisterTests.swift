import AddressSpace
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

@Suite struct RegisterTests {
    @Test func constants_areThoseOfTheSpecification() throws {
        let guest = try Guest()
        #expect(guest.read(.magic) == 0x7472_6976)
        #expect(guest.read(.version) == 2)
        #expect(guest.read(.deviceID) == 2)
        #expect(guest.read(.vendorID) == 0)
        #expect(guest.read(.sharedMemoryLengthLow) == .max)
        #expect(guest.read(.sharedMemoryLengthHigh) == .max)
        #expect(guest.read(.sharedMemoryBaseLow) == .max)
        #expect(guest.read(.sharedMemoryBaseHigh) == .max)
        #expect(guest.read(.configGeneration) == 0)
        #expect(guest.read(.queueSizeMaximum) == 256)
    }

    @Test func features_selectBeyondTheSecondWord_areZero() throws {
        let guest = try Guest()
        for select in [2, 3, 0x8000_0000, UInt32.max] {
            guest.write(.deviceFeaturesSelect, select)
            #expect(guest.read(.deviceFeatures) == 0)
        }
    }

    @Test func addressHalves_replaceEachOther() throws {
        let guest = try Guest()
        guest.negotiate()
        guest.write(.queueDescriptorLow, 0xffff_0000)
        guest.write(.queueDescriptorHigh, 0xff)
        guest.write(.queueDescriptorLow, 0x1000)
        guest.write(.queueDescriptorHigh, 0)
        #expect(guest.transport.state.withLock { $0.queues[0].configuration.descriptorTable } == 0x1000)
    }

    @Test func configurationChange_raisesTheGenerationAndTheInterrupt() throws {
        let guest = try Guest()
        guest.transport.configurationChanged()
        #expect(guest.line.pulses == 0)
        try guest.start()
        guest.transport.configurationChanged()
        #expect(guest.read(.configGeneration) == 2)
        #expect(guest.read(.interruptStatus) == VirtioInterrupt.configurationChange)
        #expect(guest.line.pulses == 1)
        guest.write(.interruptAcknowledge, 1)
        #expect(guest.read(.interruptStatus) == VirtioInterrupt.configurationChange)
        guest.write(.interruptAcknowledge, 0xffff_fffe)
        #expect(guest.read(.interruptStatus) == 0)
    }

    @Test func notify_bySoftware_signalsTheQueue() throws {
        let guest = try Guest()
        try guest.start()
        try guest.writeHeader(RequestType.flush, sector: 0)
        try guest.writeTable(guest.chain([]))
        try guest.offer(0)
        guest.write(.queueNotify, 0)
        #expect(guest.transport.notifications[0].drain() == 1)
    }
}
