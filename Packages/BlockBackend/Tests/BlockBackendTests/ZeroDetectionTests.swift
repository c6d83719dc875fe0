import Glibc
import Testing

@testable import BlockBackend

@Suite struct ZeroDetectionTests {
    private func image(_ path: String, _ configuration: Configuration, _ detection: RawImageOptions.ZeroDetection, discard: Bool) throws -> RawImage {
        try RawImage(
            RawImageOptions(path: path, direct: configuration.direct, engine: configuration.engine, discard: discard, zeroDetection: detection),
            alignment: configuration.blockSize > 0 ? DirectAlignment(memory: 512, offset: configuration.blockSize) : nil)
    }

    @Test(arguments: Configuration.all)
    func zeros_takeNoSpace_andWhatIsNotAllZerosIsWritten(_ configuration: Configuration) throws {
        let size = 1 << 20
        for (detection, discard) in [(.on, false), (.unmap, false), (.unmap, true)] as [(RawImageOptions.ZeroDetection, Bool)] {
            let file = try TemporaryFile(size: size, byte: 0xa5)
            let image = try image(file.path, configuration, detection, discard: discard)
            var expected = [UInt8](repeating: 0xa5, count: size)
            func write(_ offset: Int, _ bytes: [UInt8], _ pieces: [Int] = []) throws {
                try image.write(bytes, at: UInt64(offset), pieces: pieces)
                expected.replaceSubrange(offset..<offset + bytes.count, with: bytes)
            }
            try write(65536, [UInt8](repeating: 0, count: 262_144), [512, 65536, 4096])
            try write(4096, [UInt8](repeating: 0, count: 4096))
            try write(512, [UInt8](repeating: 0, count: 512))
            // The last byte counts, on the loop and on a worker.
            for length in [512, 65536, 65536 + 512, 200 * 512] { try write(1024, [UInt8](repeating: 0, count: length - 1) + [1], [512]) }
            try write(512 << 10, [1] + [UInt8](repeating: 0, count: 65535))
            #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
            #expect(try file.content == expected)
        }
    }

    @Test func unmap_freesTheSpace_onlyWhereDiscardsDo() throws {
        for (detection, discard, frees) in [(.unmap, true, true), (.unmap, false, false), (.on, true, false)] as [(RawImageOptions.ZeroDetection, Bool, Bool)] {
            let file = try TemporaryFile(size: 4 << 20, byte: 0xa5)
            let image = try image(file.path, Configuration(engine: .threads, direct: false), detection, discard: discard)
            #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
            let before = file.status.st_blocks
            try image.write([UInt8](repeating: 0, count: 2 << 20), at: 1 << 20)
            #expect((file.status.st_blocks <= before - (2 << 20) / 512 + 64) == frees)
        }
    }

    @Test func look_stopsAtTheFirstByteThatIsNotZero_andLeavesTheRestToAWorker() {
        func look(_ bytes: [UInt8], pieces: [Int] = [], skew: Int = 0) -> Transfer.ZeroLook {
            let memory = RequestMemory(count: bytes.count, skew: skew, pieces: pieces)
            memory.bytes = bytes
            return withExtendedLifetime(memory) {
                let transfer = Transfer(memory.operation(.write, at: 0))
                let found = transfer.lookForZeros()
                #expect(transfer.isAllZeros() == bytes.allSatisfy { $0 == 0 })
                return found
            }
        }
        for count in [1, 7, 8, 9, 127, 128, 129, 300, 512] {
            for skew in [0, 1, 5] {
                var bytes = [UInt8](repeating: 0, count: count)
                #expect(look(bytes, skew: skew) == .zeros)
                for place in [0, count / 2, count - 1] {
                    bytes[place] = 0x80
                    #expect(look(bytes, skew: skew) == .data)
                    bytes[place] = 0
                }
            }
        }
        let limit = Transfer.zeroLookLimit
        #expect(look([UInt8](repeating: 0, count: limit)) == .zeros)
        #expect(look([UInt8](repeating: 0, count: limit + 512)) == .undecided)
        #expect(look([UInt8](repeating: 0, count: limit + 511) + [1], pieces: [512, 1024]) == .undecided)
        #expect(look([UInt8](repeating: 0, count: limit - 1) + [1] + [UInt8](repeating: 0, count: 512)) == .data)
    }

    @Test func off_looksAtNothing() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try image(file.path, Configuration(engine: .threads, direct: false), .off, discard: true)
        try #require(truncate(file.path, 0) == 0 && truncate(file.path, 1 << 20) == 0)
        try image.write([UInt8](repeating: 0, count: 65536), at: 0)
        #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
        #expect(file.status.st_blocks >= 128)
    }
}
