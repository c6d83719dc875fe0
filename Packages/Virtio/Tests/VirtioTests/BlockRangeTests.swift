import AddressSpace
import BlockBackend
import Testing
@testable import Virtio

@Suite struct BlockRangeTests {
    private func guest(readOnly: Bool = false) throws -> Guest {
        let guest = try Guest(FakeStorage(isReadOnly: readOnly), options: .init(offersDiscard: true, offersWriteZeroes: true))
        try guest.start()
        return guest
    }

    private func segment(_ guest: Guest, _ sector: UInt64, _ count: UInt32, _ flags: UInt32 = 0) throws -> [Buffer] {
        try guest.memory.store(sector, at: Guest.Place.data)
        try guest.memory.store(count, at: Guest.Place.data + 8)
        try guest.memory.store(flags, at: Guest.Place.data + 12)
        return [.readable(Guest.Place.data, 16)]
    }

    @Test func discardAndWriteZeroes_zeroTheirRangeOnly() throws {
        for type in [RequestType.discard, RequestType.writeZeroes] {
            let guest = try guest()
            let before = guest.fake.bytes
            #expect(try guest.request(type, segment(guest, 4, 3)).status == BlockStatus.ok)
            #expect(guest.fake.bytes[2048..<3584].allSatisfy { $0 == 0 })
            #expect(guest.fake.bytes[..<2048] == before[..<2048])
            #expect(guest.fake.bytes[3584...] == before[3584...])
        }
    }

    @Test func flags_unknownOrUnmapOnDiscard_areUnsupported() throws {
        let guest = try guest()
        #expect(try guest.request(RequestType.discard, segment(guest, 0, 1, 1)).status == BlockStatus.unsupported)
        #expect(try guest.request(RequestType.discard, segment(guest, 0, 1, 2)).status == BlockStatus.unsupported)
        #expect(try guest.request(RequestType.writeZeroes, segment(guest, 0, 1, 0x8000_0000)).status == BlockStatus.unsupported)
        #expect(guest.fake.started.isEmpty)
        #expect(try guest.request(RequestType.writeZeroes, segment(guest, 0, 1, 1)).status == BlockStatus.ok)
    }

    @Test func zeroesBeyondTheAdvertisedLimit_areAnErrorWhereADiscardIsNot() throws {
        let guest = try Guest(FakeStorage(sectors: 65_600), options: .init(offersDiscard: true, offersWriteZeroes: true))
        try guest.start()
        #expect(try guest.request(RequestType.writeZeroes, segment(guest, 0, 65_537)).status == BlockStatus.ioError)
        #expect(guest.fake.started.isEmpty)
        #expect(try guest.request(RequestType.writeZeroes, segment(guest, 0, 65_536)).status == BlockStatus.ok)
        #expect(try guest.request(RequestType.discard, segment(guest, 0, 65_537)).status == BlockStatus.ok)
    }

    @Test func ranges_thatWrapOrLeaveTheDisk_areErrors() throws {
        let guest = try guest()
        for (sector, count) in [(2048, 1), (2047, 2), (.max, 1), (.max - 1, 4), (0, .max), (0, 4_194_304), (1 << 55, 1)] as [(UInt64, UInt32)] {
            #expect(try guest.request(RequestType.discard, segment(guest, sector, count)).status == BlockStatus.ioError)
            #expect(try guest.request(RequestType.writeZeroes, segment(guest, sector, count)).status == BlockStatus.ioError)
        }
        #expect(guest.fake.started.isEmpty)
        #expect(try guest.request(RequestType.discard, segment(guest, 2048, 0)).status == BlockStatus.ok)
    }

    @Test func segments_otherThanOneWhole_areErrors() throws {
        let guest = try guest()
        _ = try segment(guest, 0, 1)
        for length in [0, 1, 15, 17, 32] as [UInt32] {
            #expect(try guest.request(RequestType.discard, [.readable(Guest.Place.data, length)]).status == BlockStatus.ioError)
        }
        #expect(guest.fake.started.isEmpty)
    }

    @Test func notOffered_isUnsupported() throws {
        let guest = try Guest()
        try guest.start()
        #expect(try guest.request(RequestType.discard, segment(guest, 0, 1)).status == BlockStatus.unsupported)
        #expect(try guest.request(RequestType.writeZeroes, segment(guest, 0, 1)).status == BlockStatus.unsupported)
        let readOnly = try self.guest(readOnly: true)
        #expect(try readOnly.request(RequestType.discard, segment(readOnly, 0, 1)).status == BlockStatus.unsupported)
    }
}
