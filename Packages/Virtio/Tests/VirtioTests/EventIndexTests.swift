import AddressSpace
import HypervisorTesting
import Testing
@testable import Virtio

/// Notification suppression in both directions (virtio 1.2, sections 2.7.7 and 2.7.10).
@Suite struct EventIndexTests {
    @Test func crossing_agreesWithTheDefinitionForAllSmallSteps() {
        // The definition: an entry with index `event` was written when the index went from old to new.
        for old in [0, 1, 5, 32767, 32768, 65530, 65534, 65535] as [UInt16] {
            for step in 0...8 as ClosedRange<UInt16> {
                let new = old &+ step
                for distance in -10...10 {
                    let event = UInt16(truncatingIfNeeded: Int(old) + distance)
                    let written = (0..<step).contains { old &+ $0 == event }
                    if SplitQueue.crosses(event, from: old, to: new) != written { Issue.record("\(event) \(old) \(new)") }
                }
            }
        }
    }

    @Test func interrupts_withEventIndex_comeWhenAskedForAlsoAcrossTheWrap() throws {
        let guest = try Guest()
        try guest.start(queueSize: 4)
        guest.fake.records = false
        try guest.writeHeader(RequestType.identify, sector: 0)
        try guest.writeTable(guest.chain([.writable(Guest.Place.data, 20)]))
        var expected = 1
        for round in 0..<66_000 {
            // Every third entry is asked for, wherever the index stands.
            let asks = round == 0 || round % 3 == 0
            try guest.setUsedEvent(UInt16(truncatingIfNeeded: asks ? round : round &+ 100))
            try guest.offer(0)
            guest.transport.serveQueue(0)
            if asks, round > 0 { expected += 1 }
            if guest.line.pulses != expected {
                Issue.record("after entry \(round): \(guest.line.pulses) interrupts instead of \(expected)")
                break
            }
        }
        #expect(guest.line.pulses == 22_000)
        #expect(guest.availableIndex == UInt16(truncatingIfNeeded: 66_000))
        #expect(try guest.memory.loadAcquire16(at: Guest.Place.used + 2) == guest.availableIndex)
        // The device wants to hear of the very next buffer.
        #expect(try guest.availableEvent() == guest.availableIndex)
        #expect(guest.status.isLive)
    }

    @Test func interrupts_withoutEventIndex_followTheFlag() throws {
        let guest = try Guest()
        try guest.start(features: guest.offeredFeatures & ~VirtioFeature.eventIndex)
        _ = try guest.request(RequestType.flush)
        #expect(guest.line.pulses == 1)
        try guest.memory.store(UInt16(1), at: Guest.Place.available)
        _ = try guest.request(RequestType.flush)
        #expect(guest.line.pulses == 1)
        try guest.memory.store(UInt16(0), at: Guest.Place.available)
        _ = try guest.request(RequestType.flush)
        #expect(guest.line.pulses == 2)
        #expect(try guest.memory.load(UInt16.self, at: Guest.Place.used) == 0)
    }

    @Test func suppression_withoutEventIndex_setsAndClearsTheFlag() throws {
        let guest = try Guest()
        let queue = try SplitQueue(
            QueueConfiguration(size: 4, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used),
            maximumSize: 4, features: 0, memory: guest.memory)
        queue.disableNotifications()
        #expect(try guest.memory.load(UInt16.self, at: Guest.Place.used) == 1)
        #expect(try !queue.enableNotifications())
        #expect(try guest.memory.load(UInt16.self, at: Guest.Place.used) == 0)
    }

    /// CVE-2020-16843 class: a buffer that comes between the last look and the re-enabling must not be forgotten.
    @Test(arguments: [0, VirtioFeature.eventIndex]) func lostWakeup_bufferDuringReenable_isReported(features: UInt64) throws {
        let guest = try Guest()
        guest.queueSize = 4
        let queue = try SplitQueue(
            QueueConfiguration(size: 4, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used),
            maximumSize: 4, features: features, memory: guest.memory)
        let chain = DescriptorChain(maximumLength: 4)
        queue.disableNotifications()
        #expect(try !queue.pop(into: chain))
        try guest.writeTable([.writable(0x10000, 5)])
        try guest.offer(0)
        #expect(try queue.enableNotifications())
        #expect(try queue.pop(into: chain))
        #expect(try !queue.enableNotifications())
    }

    @Test(arguments: [0, VirtioFeature.eventIndex]) func polledQueue_asksForNothingUntilItIsArmed(features: UInt64) throws {
        let guest = try Guest()
        guest.queueSize = 4
        let queue = try SplitQueue(
            QueueConfiguration(size: 4, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used),
            maximumSize: 4, features: features, memory: guest.memory)
        queue.isPolled = true
        func wish() throws -> UInt16 { try guest.memory.load(UInt16.self, at: Guest.Place.used + (features == 0 ? 0 : 4 + 8 * 4)) }
        let chain = DescriptorChain(maximumLength: 4)
        #expect(!queue.hasNews && !queue.arm())
        try guest.writeTable([.writable(0x10000, 5)])
        try guest.offer(0)
        // It waits for nothing yet.
        #expect(!queue.hasNews)
        queue.disableNotifications()
        #expect(try queue.enableNotifications())
        #expect(queue.hasNews)
        queue.disableNotifications()
        #expect(!queue.hasNews)
        #expect(try queue.pop(into: chain))
        #expect(try !queue.enableNotifications())
        #expect(!queue.hasNews)
        #expect(try wish() == (features == 0 ? 1 : 0))
        // Something comes just before.
        try guest.offer(0)
        #expect(queue.hasNews && queue.arm())
        #expect(try queue.pop(into: chain))
        #expect(try !queue.enableNotifications())
        #expect(!queue.arm())
        #expect(try wish() == (features == 0 ? 0 : 2))
        queue.disable()
        #expect(!queue.hasNews && !queue.arm())
    }

    @Test func polledQueue_thatTheDriverBreaks_hasNews_soThatItsServerFindsTheFault() throws {
        let guest = try Guest()
        guest.queueSize = 4
        let queue = try SplitQueue(
            QueueConfiguration(size: 4, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used),
            maximumSize: 4, features: 0, memory: guest.memory)
        queue.isPolled = true
        #expect(try !queue.enableNotifications())
        try guest.memory.store(UInt16(77), at: Guest.Place.available + 2)
        #expect(queue.hasNews && queue.arm() && queue.isEnabled)
        #expect(throws: QueueFault.availableIndexJump(77)) { try queue.pop(into: DescriptorChain(maximumLength: 4)) }
        #expect(!queue.hasNews)
    }
}
