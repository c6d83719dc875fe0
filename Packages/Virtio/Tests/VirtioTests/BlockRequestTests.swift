import AddressSpace
import BlockBackend
import Glibc
import HypervisorTesting
import Testing
@testable import Virtio

@Suite struct BlockRequestTests {
    @Test func read_wholeSectors_fillsTheBufferAndCountsTheStatus() throws {
        let guest = try Guest()
        #expect(try guest.start())
        let result = try guest.request(RequestType.read, sector: 3, [.writable(Guest.Place.data, 1024)])
        #expect(result.status == BlockStatus.ok)
        #expect(result.used == UsedEntry(id: 0, length: 1025))
        #expect(try guest.bytes(Guest.Place.data, 1024) == Array(guest.fake.bytes[1536..<2560]))
        #expect(guest.line.pulses == 1)
        #expect(guest.read(.interruptStatus) == VirtioInterrupt.usedBuffer)
        guest.write(.interruptAcknowledge, 1)
        #expect(guest.read(.interruptStatus) == 0)
    }

    @Test(arguments: [false, true]) func write_thenRead_returnsTheSameBytes(indirect: Bool) throws {
        let guest = try Guest()
        try guest.start()
        let content = (0..<1536).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        try guest.fill(Guest.Place.data, content)
        // Cut at odd places: framing means nothing (virtio 1.2, section 2.7.4).
        let pieces: [Buffer] = [.readable(Guest.Place.data, 1), .readable(Guest.Place.data + 1, 700), .readable(Guest.Place.data + 701, 835)]
        let written = try guest.request(RequestType.write, sector: 10, pieces, indirect: indirect)
        #expect(written.status == BlockStatus.ok)
        #expect(written.used?.length == 1)
        #expect(Array(guest.fake.bytes[5120..<6656]) == content)
        let read = try guest.request(
            RequestType.read, sector: 10, [.writable(Guest.Place.data + 0x4000, 513), .writable(Guest.Place.data + 0x5000, 1023)], indirect: indirect)
        #expect(read.status == BlockStatus.ok)
        #expect(read.used?.length == 1537)
        #expect(try guest.bytes(Guest.Place.data + 0x4000, 513) + guest.bytes(Guest.Place.data + 0x5000, 1023) == content)
    }

    @Test func header_cutAcrossDescriptorsAndJoinedWithData_isUnderstood() throws {
        let guest = try Guest()
        try guest.start()
        try guest.writeHeader(RequestType.write, sector: 1)
        try guest.fill(Guest.Place.header + 16, [UInt8](repeating: 0x5a, count: 512))
        try guest.writeTable([
            .readable(Guest.Place.header, 3), .readable(Guest.Place.header + 3, 6), .readable(Guest.Place.header + 9, 7 + 512),
            .writable(Guest.Place.status, 1),
        ])
        try guest.offer(0)
        guest.serve()
        #expect(try guest.newUsed() == [UsedEntry(id: 0, length: 1)])
        #expect(guest.fake.bytes[512..<1024].allSatisfy { $0 == 0x5a })
    }

    @Test func status_insideTheLastDataBuffer_isItsLastByte() throws {
        let guest = try Guest()
        try guest.start()
        try guest.writeHeader(RequestType.read, sector: 0)
        try guest.writeTable([.readable(Guest.Place.header, 16), .writable(Guest.Place.data, 513)])
        try guest.offer(0)
        guest.serve()
        #expect(try guest.newUsed() == [UsedEntry(id: 0, length: 513)])
        #expect(try guest.bytes(Guest.Place.data, 512) == Array(guest.fake.bytes[0..<512]))
        #expect(try guest.memory.load(UInt8.self, at: Guest.Place.data + 512) == BlockStatus.ok)
    }

    @Test func buffer_acrossTwoMappings_isOneTransfer() throws {
        let guest = try Guest()
        try guest.start()
        let content = (0..<4096).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ 5) }
        try guest.fill(Guest.ramSize - 2048, content)
        #expect(try guest.request(RequestType.write, sector: 0, [.readable(Guest.ramSize - 2048, 4096)]).status == BlockStatus.ok)
        #expect(Array(guest.fake.bytes[0..<4096]) == content)
    }

    @Test func flush_reachesTheStorage() throws {
        let guest = try Guest()
        try guest.start()
        let result = try guest.request(RequestType.flush)
        #expect(result.status == BlockStatus.ok)
        #expect(result.used?.length == 1)
        #expect(guest.fake.started == [.flush])
    }

    @Test(arguments: [("", ""), ("disk7", "disk7"), ("exactly-twenty-chars", "exactly-twenty-chars"), ("a serial that is too long", "a serial that is too")])
    func identify_returnsTheSerialPaddedTo20Bytes(serial: String, expected: String) throws {
        let guest = try Guest(options: .init(serial: serial))
        try guest.start()
        let result = try guest.request(RequestType.identify, [.writable(Guest.Place.data, 9), .writable(Guest.Place.data + 9, 11)])
        #expect(result.status == BlockStatus.ok)
        #expect(result.used?.length == 21)
        var padded = Array(expected.utf8)
        padded += [UInt8](repeating: 0, count: 20 - padded.count)
        #expect(try guest.bytes(Guest.Place.data, 20) == padded)
    }

    @Test func identify_withoutRoom_isAnError() throws {
        let guest = try Guest()
        try guest.start()
        #expect(try guest.request(RequestType.identify, [.writable(Guest.Place.data, 19)]).status == BlockStatus.ioError)
    }

    @Test func unknownType_isUnsupported() throws {
        let guest = try Guest()
        try guest.start()
        for type in [2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 0x8000_0000, UInt32.max] {
            #expect(try guest.request(type, [.writable(Guest.Place.data, 512)]).status == BlockStatus.unsupported)
        }
        #expect(guest.fake.started.isEmpty)
    }

    @Test func transfer_ofNoBytes_succeedsWithoutTheStorage() throws {
        let guest = try Guest()
        try guest.start()
        #expect(try guest.request(RequestType.read, sector: 5).status == BlockStatus.ok)
        #expect(try guest.request(RequestType.write, sector: 2048).status == BlockStatus.ok)
        #expect(try guest.request(RequestType.write, sector: 2049).status == BlockStatus.ioError)
        #expect(guest.fake.started.isEmpty)
    }

    @Test func storageError_isReportedAndTheDeviceGoesOn() throws {
        let guest = try Guest()
        try guest.start()
        guest.fake.failures[.read] = -EIO
        let result = try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)])
        #expect(result.status == BlockStatus.ioError)
        #expect(result.used?.length == 1)
        guest.fake.failures = [:]
        #expect(try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)]).status == BlockStatus.ok)
    }

    /// So that the guest's file system stops asking, instead of logging I/O errors.
    @Test func discard_thatTheHostCannotDo_isUnsupported() throws {
        let guest = try Guest(options: .init(offersDiscard: true))
        try guest.start()
        guest.fake.failures[.discard] = -EOPNOTSUPP
        try guest.fill(Guest.Place.data, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
        #expect(try guest.request(RequestType.discard, [.readable(Guest.Place.data, 16)]).status == BlockStatus.unsupported)
    }

    @Test func write_withoutNegotiatedFlush_isFlushedBeforeItIsReported() throws {
        let guest = try Guest()
        let all = guest.offeredFeatures
        try guest.start(features: all & ~BlockFeature.flush)
        #expect(try guest.request(RequestType.write, [.readable(Guest.Place.data, 512)]).status == BlockStatus.ok)
        #expect(guest.fake.started == [.write, .flush])
        guest.fake.failures[.flush] = -EIO
        #expect(try guest.request(RequestType.write, [.readable(Guest.Place.data, 512)]).status == BlockStatus.ioError)
        guest.fake.failures = [:]
        guest.fake.started = []
        #expect(try guest.request(RequestType.read, [.writable(Guest.Place.data, 512)]).status == BlockStatus.ok)
        #expect(guest.fake.started == [.read])
    }

    @Test func features_followTheStorageAndTheOptions() throws {
        let common = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | BlockFeature.flush | BlockFeature.segmentMaximum
        #expect(try Guest().offeredFeatures == common)
        let asked = VirtioBlock.Options(offersDiscard: true, offersWriteZeroes: true)
        #expect(try Guest(options: asked).offeredFeatures == common | BlockFeature.discard | BlockFeature.writeZeroes)
        #expect(try Guest(FakeStorage(supportsDiscard: false), options: asked).offeredFeatures == common)
        #expect(try Guest(FakeStorage(isReadOnly: true), options: asked).offeredFeatures == common | BlockFeature.readOnly)
    }

    @Test func configurationSpace_hasTheFieldsOfTheSpecification() throws {
        let guest = try Guest(FakeStorage(sectors: 4000, logicalBlockSize: 4096), options: .init(offersDiscard: true, offersWriteZeroes: true))
        func field(_ offset: UInt64, _ size: Int) -> UInt64 { guest.transport.read(offset: 0x100 + offset, size: size) }
        #expect(field(0, 8) == 4000)
        #expect(field(12, 4) == 254)
        #expect(field(20, 4) == 512)
        #expect(field(34, 2) == 1)
        #expect(field(36, 4) == 4_194_303)
        #expect(field(40, 4) == 1)
        #expect(field(44, 4) == 8)
        #expect(field(48, 4) == 65_536)
        #expect(field(52, 4) == 1)
        #expect(field(56, 1) == 1)
        #expect(field(60, 8) == 0)
        // Bytes are the same at every width.
        #expect((0..<8).map { field($0, 1) } == [0xa0, 0x0f, 0, 0, 0, 0, 0, 0])
        guest.transport.write(offset: 0x100, size: 8, value: 1)
        #expect(field(0, 8) == 4000)
    }
}
