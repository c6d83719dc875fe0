import AddressSpace
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Which frames reach the driver, and the commands that say so.
@Suite struct NetFilterTests {
    private func passes(_ guest: NetGuest, _ wire: Wire, _ frame: [UInt8]) throws -> Bool {
        wire.send(frame)
        guest.run(rounds: 4)
        let used = try guest.newUsed(0)
        for entry in used { try guest.offer(0, head: UInt16(entry.id)) }
        return !used.isEmpty
    }

    private func guest(_ kind: Wire.Kind = .tap, without: UInt64 = 0) throws -> (NetGuest, Wire) {
        let wire = try Wire(kind)
        let guest = try NetGuest([wire])
        try guest.start(without: without)
        try guest.post(64)
        return (guest, wire)
    }

    @Test(arguments: Wire.Kind.allCases) func everythingPasses_untilTheDriverSaysOtherwise(kind: Wire.Kind) throws {
        let (guest, wire) = try guest(kind)
        for to in [Frame.own, Frame.other, Frame.multicast, .broadcast] { #expect(try passes(guest, wire, Frame.make(to: to))) }
        #expect(try passes(guest, wire, Frame.make(vlan: 5)))
    }

    @Test(arguments: Wire.Kind.allCases) func modes_selectFrames(kind: Wire.Kind) throws {
        let (guest, wire) = try guest(kind)
        func seen() throws -> [Bool] { try [Frame.own, Frame.other, Frame.multicast, .broadcast].map { try passes(guest, wire, Frame.make(to: $0)) } }
        #expect(try guest.mode(0, false) == 0)
        #expect(try seen() == [true, false, false, true])
        #expect(try guest.mode(1, true) == 0)
        #expect(try seen() == [true, false, true, true])
        #expect(try guest.mode(2, true) == 0)
        #expect(try seen() == [true, true, true, true])
        #expect(try guest.mode(3, true) == 0)
        #expect(try seen() == [true, true, false, true])
        #expect(try guest.mode(4, true) == 0)
        #expect(try seen() == [false, false, false, true])
        #expect(try guest.mode(5, true) == 0)
        #expect(try seen() == [false, false, false, false])
        #expect(try guest.mode(0, true) == 0)
        #expect(try seen() == [true, true, true, true])
        #expect(guest.device { $0.pairs[0].receiver.filteredPackets.load(ordering: .relaxed) } > 0)
    }

    @Test(arguments: Wire.Kind.allCases) func addressTables_andTheOwnAddress(kind: Wire.Kind) throws {
        let (guest, wire) = try guest(kind)
        #expect(try guest.mode(0, false) == 0)
        #expect(try guest.control([1, 0] + NetGuest.table([Frame.other]) + NetGuest.table([Frame.multicast])) == 0)
        #expect(try passes(guest, wire, Frame.make(to: Frame.other)))
        #expect(try passes(guest, wire, Frame.make(to: Frame.multicast)))
        #expect(try !passes(guest, wire, Frame.make(to: MACAddress(bits: 0x0100_5e00_0002))))
        #expect(try guest.control([1, 0] + NetGuest.table([]) + NetGuest.table([])) == 0)
        #expect(try !passes(guest, wire, Frame.make(to: Frame.other)))
        #expect(try guest.control([1, 1] + (0..<6).map { Frame.other[$0] }) == 0)
        #expect(guest.config(0, 4) == 0x1200_5452)
        #expect((0..<6).map { UInt8(guest.config(UInt64($0), 1)) } == (0..<6).map { Frame.other[$0] })
        #expect(try passes(guest, wire, Frame.make(to: Frame.other)))
        #expect(try !passes(guest, wire, Frame.make(to: Frame.own)))
        // The address is the user's again after a reset.
        try guest.start()
        #expect(guest.config(5, 1) == 0x56)
    }

    @Test(arguments: Wire.Kind.allCases) func tables_beyondTheLimitHoldEverything(kind: Wire.Kind) throws {
        let (guest, wire) = try guest(kind)
        #expect(try guest.mode(0, false) == 0)
        let unicast = (0..<64).map { MACAddress(bits: 0x0200_0000_0000 + UInt64($0)) }
        #expect(try guest.control([1, 0] + NetGuest.table(unicast) + NetGuest.table([])) == 0)
        #expect(try passes(guest, wire, Frame.make(to: unicast[63])))
        #expect(try !passes(guest, wire, Frame.make(to: Frame.other)))
        #expect(try !passes(guest, wire, Frame.make(to: Frame.multicast)))
        // One more does not fit; the other table is its own.
        #expect(try guest.control([1, 0] + NetGuest.table(unicast) + NetGuest.table([Frame.multicast])) == 0)
        #expect(try !passes(guest, wire, Frame.make(to: Frame.other)))
        #expect(try passes(guest, wire, Frame.make(to: MACAddress(bits: 0x0100_5e00_0077))))
        #expect(try guest.control([1, 0] + NetGuest.table(unicast + [Frame.own]) + NetGuest.table([Frame.multicast])) == 0)
        #expect(try passes(guest, wire, Frame.make(to: Frame.other)))
        #expect(try !passes(guest, wire, Frame.make(to: MACAddress(bits: 0x0100_5e00_0077))))
    }

    @Test(arguments: Wire.Kind.allCases) func vlans_areThoseThatWereAdded(kind: Wire.Kind) throws {
        let (guest, wire) = try guest(kind)
        #expect(try guest.mode(0, false) == 0)
        #expect(try passes(guest, wire, Frame.make()))
        #expect(try passes(guest, wire, Frame.make(vlan: 0)))
        for number in [1, 63, 64, 100, 4094, 4095] as [UInt16] {
            let bytes = [UInt8(number & 0xff), UInt8(number >> 8)]
            #expect(try !passes(guest, wire, Frame.make(vlan: number)))
            #expect(try guest.control([2, 0] + bytes) == 0)
            #expect(try passes(guest, wire, Frame.make(vlan: number)))
            #expect(try passes(guest, wire, Frame.make(vlan: number | 0xe000)))
            #expect(try !passes(guest, wire, Frame.make(vlan: number ^ 2)))
            #expect(try guest.control([2, 1] + bytes) == 0)
            #expect(try !passes(guest, wire, Frame.make(vlan: number)))
        }
    }

    @Test(arguments: Wire.Kind.allCases) func vlans_areNotFilteredWithoutTheFeature(kind: Wire.Kind) throws {
        let (guest, wire) = try guest(kind, without: NetFeature.controlVLAN)
        #expect(try guest.mode(0, false) == 0)
        #expect(try passes(guest, wire, Frame.make(vlan: 7)))
        #expect(try guest.control([2, 0, 7, 0]) == 1)
    }

    @Test func commands_thatWereNotNegotiatedAreRefused() throws {
        let (guest, _) = try guest(without: NetFeature.controlReceiveExtra | NetFeature.controlMAC | NetFeature.controlReceive)
        for command in 0...5 as ClosedRange<UInt8> { #expect(try guest.mode(command, true) == 1) }
        #expect(try guest.control([1, 0] + NetGuest.table([]) + NetGuest.table([])) == 1)
        #expect(try guest.control([1, 1, 2, 0, 0, 0, 0, 1]) == 1)
        #expect(try guest.control([4, 0, 1, 0]) == 1)
        #expect(guest.config(0, 1) == 0x52)
    }

    @Test(arguments: Wire.Kind.allCases) func control_piecesOfAnySizeAreTheSame(kind: Wire.Kind) throws {
        let (guest, wire) = try guest(kind)
        let queue = guest.controlIndex
        let command: [UInt8] = [1, 0] + NetGuest.table([Frame.other, Frame.own]) + NetGuest.table([Frame.multicast])
        try guest.memory.write(at: NetGuest.command, bytes: command)
        try guest.add(queue, (0..<command.count).map { .readable(NetGuest.command + UInt64($0), 1) } + [.writable(NetGuest.status, 1)])
        guest.kick(queue)
        #expect(try guest.memory.load(UInt8.self, at: NetGuest.status) == 0)
        #expect(try guest.newUsed(queue) == [UsedEntry(id: 0, length: 1)])
        #expect(try guest.mode(0, false) == 0)
        #expect(try passes(guest, wire, Frame.make(to: Frame.other)))
    }
}
