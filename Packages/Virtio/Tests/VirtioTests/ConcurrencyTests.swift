import AddressSpace
import Foundation
import HypervisorTesting
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Registers on one thread, queues on another, as in a machine.
@Suite struct ConcurrencyTests {
    @Test func resets_whileTheQueueIsServed_neverTouchAStoppedQueue() throws {
        let guest = try Guest()
        guest.fake.records = false
        let transport = guest.transport
        let completion = guest.fake.completionFD
        do {
            let done = Done()
            let thread = try OSThread.start(name: "loop") {
                while !done.value {
                    transport.serveQueue(0)
                    transport.serveEventSource(completion)
                }
            }
            for round in 0..<300 {
                try guest.memory.fill(at: Guest.Place.descriptors, count: 0x8000)
                guest.availableIndex = 0
                guest.queueSize = 64
                guest.negotiate()
                guest.setUpQueue(QueueConfiguration(size: 64, descriptorTable: Guest.Place.descriptors, availableRing: Guest.Place.available, usedRing: Guest.Place.used))
                try guest.writeHeader(RequestType.read, sector: 0)
                try guest.writeTable(guest.chain([.writable(Guest.Place.data, 512)]))
                guest.write(.status, 15)
                for _ in 0..<round % 7 {
                    try guest.offer(0)
                    guest.write(.queueNotify, 0)
                    _ = guest.read(.interruptStatus)
                    guest.write(.interruptAcknowledge, 3)
                }
                if round % 3 == 0 { transport.drain() }
                guest.write(.status, 0)
                // After the reset the ring is the driver's alone.
                let before = try guest.bytes(Guest.Place.used, 64)
                usleep(50)
                #expect(try guest.bytes(Guest.Place.used, 64) == before)
            }
            done.set()
            thread.join()
        }
        #expect(try guest.start())
        #expect(try guest.request(RequestType.flush).status == BlockStatus.ok)
    }
}

private final class Done: Sendable {
    private let flag = Atomic<Bool>(false)
    var value: Bool { flag.load(ordering: .acquiring) }
    func set() { flag.store(true, ordering: .releasing) }
}
