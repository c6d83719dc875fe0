import AddressSpace
import CNetTestSupport
import LinuxSys
import Testing
@testable import Virtio

/// Moving packets takes no memory: a guest cannot make the process allocate by sending or receiving more.
@Suite(.enabled(if: nettest_allocations() > 0)) struct NetAllocationTests {
    /// Wakes that are not for packets take what the loop takes for each; more packets in a wake take no more.
    private func allocations(_ guest: NetGuest, packets: Int, _ prepare: (Int) throws -> Void) throws -> Int {
        for _ in 0..<3 {
            try prepare(packets)
            guest.run(rounds: 5)
        }
        try prepare(packets)
        let before = nettest_allocations()
        guest.run(rounds: 5)
        return nettest_allocations() - before
    }

    @Test(arguments: [true, false], Wire.Kind.allCases) func receiving_takesNoMemory(filters: Bool, kind: Wire.Kind) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start()
        try guest.post(256)
        if filters { #expect(try guest.mode(0, false) == 0) }
        func prepare(_ count: Int) throws {
            for entry in try guest.newUsed(0) { try guest.offer(0, head: UInt16(entry.id)) }
            guest.notify(0)
            // The largest take many buffers each.
            for _ in 0..<count { #expect(wire.send(Frame.make(3000))) }
        }
        let few = try allocations(guest, packets: 1, prepare)
        let many = try allocations(guest, packets: 30, prepare)
        #expect(many == few)
    }

    @Test(arguments: Wire.Kind.allCases) func transmitting_takesNoMemory(kind: Wire.Kind) throws {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start()
        func prepare(_ count: Int) throws {
            while wire.receive() != nil {}
            _ = try guest.newUsed(1)
            for index in 0..<count { try guest.add(1, [.readable(NetGuest.data, 12), .readable(NetGuest.data + 12, 1500)], head: UInt16(index * 2)) }
            guest.notify(1)
        }
        let few = try allocations(guest, packets: 1, prepare)
        let many = try allocations(guest, packets: 60, prepare)
        #expect(many == few)
        #expect(wire.receive() != nil)
    }
}
