import AddressSpace
import LinuxSys
import Testing
@testable import Virtio

/// Commands that make no sense.
@Suite struct HostileNetControlTests {
    private func started() throws -> NetGuest {
        let guest = try NetGuest([Wire()], pairs: 2, multiqueue: true)
        try guest.start()
        return guest
    }

    private static let commands: [[UInt8]] = [
        [0, 0, 1], [0, 5, 0],
        [1, 0] + NetGuest.table([]) + NetGuest.table([]),
        [1, 0] + NetGuest.table([Frame.other]) + NetGuest.table([Frame.multicast, .broadcast]),
        [1, 1, 2, 0, 0, 0, 0, 1], [2, 0, 5, 0], [2, 1, 5, 0], [4, 0, 1, 0], [4, 0, 2, 0],
    ]

    @Test func class10_commandsCutOffAtEveryByteOrTooLong_areRefused() throws {
        let guest = try started()
        for command in Self.commands {
            #expect(try guest.control(command) == 0)
            for length in 0..<command.count { #expect(try guest.control(Array(command[..<length])) == 1) }
            for extra in 1...8 { #expect(try guest.control(command + [UInt8](repeating: 0, count: extra)) == 1) }
        }
        #expect(try guest.control(Self.commands[0]) == 0)
    }

    @Test func class10_everyClassAndCommandWithEveryShortLength_isAnswered() throws {
        let guest = try started()
        for group in [0, 1, 2, 3, 4, 5, 6, 0x7f, 0xff] as [UInt8] {
            for command in [0, 1, 2, 3, 4, 5, 6, 7, 0x7f, 0xff] as [UInt8] {
                for length in 0...10 {
                    for fill in [0, 1, 0xff] as [UInt8] {
                        #expect(try guest.control([group, command] + [UInt8](repeating: fill, count: length)) <= 1)
                    }
                }
            }
        }
        #expect(try guest.control([0, 0, 1]) == 0)
    }

    @Test func class7_tableCountsThatTheCommandDoesNotHave_areRefusedWithoutAllocation() throws {
        let guest = try started()
        let counts: [UInt32] = [1, 2, 3, 64, 65, 0x2aaa_aaab, 0x5555_5555, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]
        for first in counts {
            for second in counts {
                func bytes(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * $0)) } }
                #expect(try guest.control([1, 0] + bytes(first) + bytes(second)) == 1)
                #expect(try guest.control([1, 0] + bytes(0) + bytes(second)) == 1)
                #expect(try guest.control([1, 0] + bytes(first)) == 1)
            }
        }
        #expect(guest.device { $0.filter.unicast } == [])
    }

    @Test func class7_veryLongTables_countAsEverything() throws {
        let guest = try started()
        let many = (0..<100_000).map { MACAddress(bits: UInt64($0)) }
        let queue = guest.controlIndex
        let command = [1, 0] + NetGuest.table(many) + NetGuest.table([])
        try guest.memory.write(at: NetGuest.data, bytes: command)
        try guest.add(queue, [.readable(NetGuest.data, UInt32(command.count)), .writable(NetGuest.status, 1)])
        guest.kick(queue)
        #expect(try guest.memory.load(UInt8.self, at: NetGuest.status) == 0)
        #expect(guest.device { $0.filter.unicast } == nil)
        #expect(guest.device { $0.filter.multicast } == [])
    }

    @Test func class10_commandsWithoutRoomForAnAnswer_areGivenBack() throws {
        let guest = try started()
        let queue = guest.controlIndex
        try guest.memory.write(at: NetGuest.command, bytes: [0, 0, 0])
        for (index, buffers) in [[Buffer.readable(NetGuest.command, 3)], [.readable(NetGuest.command, 3), .writable(NetGuest.status, 0)]].enumerated() {
            try guest.add(queue, buffers)
            guest.kick(queue)
            #expect(try guest.newUsed(queue) == [UsedEntry(id: 0, length: 0)])
            #expect(guest.transport.statistics.droppedRequests == UInt64(index + 1))
        }
        // Not done either.
        #expect(guest.device { $0.filter.passesAll })
        // More room than an answer needs, and nothing to answer to.
        try guest.memory.fill(at: NetGuest.data, count: 16, byte: 0xee)
        try guest.add(queue, [.writable(NetGuest.data, 16)])
        guest.kick(queue)
        #expect(try guest.newUsed(queue) == [UsedEntry(id: 0, length: 1)])
        #expect(try guest.bytes(NetGuest.data, 2) == [1, 0xee])
    }

    @Test func class10_addressesThatNobodyMayHave_areRefused() throws {
        let guest = try started()
        #expect(try guest.control([1, 1, 0, 0, 0, 0, 0, 0]) == 1)
        #expect(try guest.control([1, 1, 1, 0, 0x5e, 0, 0, 1]) == 1)
        #expect(try guest.control([1, 1, 255, 255, 255, 255, 255, 255]) == 1)
        #expect(guest.config(5, 1) == 0x56)
    }

    @Test func class10_vlansThatDoNotExist_areRefused() throws {
        let guest = try started()
        for number in [0x1000, 0x1005, 0x8000, 0xffff] as [UInt16] {
            for command in 0...1 as ClosedRange<UInt8> {
                #expect(try guest.control([2, command, UInt8(number & 0xff), UInt8(number >> 8)]) == 1)
            }
        }
    }

    @Test func class28_controlQueueThatIsRefilled_letsOthersGoFirst() throws {
        let guest = try started()
        let queue = guest.controlIndex
        try guest.memory.write(at: NetGuest.command, bytes: [0, 0, 1])
        try guest.writeTable([.readable(NetGuest.command, 3), .writable(NetGuest.status, 1)], at: guest.place(queue))
        for _ in 0..<64 { try guest.offer(queue, head: 0) }
        #expect(guest.device { $0.queueNotified(queue) } == .again)
        #expect(guest.device { $0.queueNotified(queue) } == .idle)
        #expect(try guest.newUsed(queue).count == 64)
    }

    @Test func class28_commandsThatSwitchQueues_areOneATurn() throws {
        let wires = [try Wire(), try Wire()]
        let guest = try NetGuest(wires, pairs: 2, multiqueue: true)
        try guest.start()
        let queue = guest.controlIndex
        for head in 0..<8 as Range<UInt16> {
            let place = NetGuest.command + UInt64(head) * 16
            try guest.memory.write(at: place, bytes: [4, 0, UInt8(2 - head % 2), 0])
            try guest.add(queue, [.readable(place, 4), .writable(NetGuest.status + UInt64(head), 1)], head: 2 * head)
        }
        // The kernel may take milliseconds for each: it waits for every processor.
        for turn in 1...8 {
            guest.transport.notifications[queue].signal()
            guest.transport.serveQueue(queue)
            #expect(try guest.newUsed(queue).count == 1)
            #expect(guest.device { $0.activePairs } == 1 + turn % 2)
        }
    }

    @Test func commandsOfRandomBytes_neverStopTheQueue() throws {
        let guest = try started()
        var random = SeededGenerator(seed: 5)
        for _ in 0..<2000 {
            var command = Self.commands.randomElement(using: &random)!
            for _ in 0..<Int.random(in: 1...3, using: &random) where !command.isEmpty {
                command[Int.random(in: 0..<command.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            #expect(try guest.control(command) <= 1)
        }
        #expect(try guest.control([0, 0, 1]) == 0)
    }
}
