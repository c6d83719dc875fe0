import Foundation
import Glibc
import LinuxSys
import Testing

@testable import BlockBackend

/// Foundation has a class of this name.
typealias BlockOperation = BlockBackend.BlockOperation

/// A file that goes with its owner. In /var/tmp, which is on a disk: tmpfs refuses O_DIRECT before Linux 6.6.
final class TemporaryFile {
    let path: String

    init(size: Int = 0, byte: UInt8 = 0, filling: ((Int) -> UInt8)? = nil) throws {
        path = "/var/tmp/blockbackend-\(getpid())-\(UInt64.random(in: 0 ... .max)).img"
        let bytes = filling.map { (0..<size).map($0) } ?? Array(repeating: byte, count: size)
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    deinit { unlink(path) }

    var content: [UInt8] {
        get throws { try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) }
    }

    var status: stat {
        var status = stat()
        stat(path, &status)
        return status
    }
}

/// Memory for one request: `skew` bytes past a page boundary, cut into iovecs.
final class RequestMemory {
    let count: Int
    private let base: UnsafeMutableRawPointer
    private let start: UnsafeMutableRawPointer
    let iovecs: UnsafeMutablePointer<iovec>
    let iovecCount: Int

    init(count: Int, skew: Int = 0, pieces: [Int] = []) {
        self.count = count
        base = .allocate(byteCount: max(count + skew, 1), alignment: 4096)
        start = base + skew
        var lengths: [Int] = []
        var left = count
        for piece in pieces where left > 0 {
            lengths.append(min(piece, left))
            left -= min(piece, left)
        }
        if left > 0 || lengths.isEmpty { lengths.append(left) }
        iovecCount = lengths.count
        iovecs = .allocate(capacity: lengths.count)
        var offset = 0
        for (index, length) in lengths.enumerated() {
            (iovecs + index).initialize(to: iovec(iov_base: start + offset, iov_len: length))
            offset += length
        }
    }

    deinit {
        base.deallocate()
        iovecs.deallocate()
    }

    var bytes: [UInt8] {
        get { [UInt8](UnsafeRawBufferPointer(start: start, count: count)) }
        set { newValue.withUnsafeBytes { start.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(start), byteCount: min(count, $0.count)) } }
    }

    func operation(_ kind: BlockOperation.Kind, at offset: UInt64, token: UInt64 = 0) -> BlockOperation {
        BlockOperation(kind, offset: offset, length: UInt64(count), iovecs: iovecs, count: Int32(iovecCount), token: token)
    }
}

extension BlockStorage {
    /// Waits until something can be reaped.
    func wait() -> Bool {
        var descriptor = pollfd(fd: completionFD, events: Int16(POLLIN), revents: 0)
        return poll(&descriptor, 1, 10_000) == 1
    }

    /// Runs one operation by the event loop's way: submit, kick, wait for the eventfd, reap.
    func run(_ operation: BlockOperation) throws -> Int32 {
        submit(operation)
        kick()
        var results: [Int32] = []
        while results.isEmpty {
            try #require(wait(), "no completion within 10 s")
            reap { token, result in
                #expect(token == operation.token)
                results.append(result)
            }
        }
        #expect(results.count == 1)
        return results[0]
    }

    /// As above, and keeps the memory alive meanwhile.
    func run(_ kind: BlockOperation.Kind, _ memory: RequestMemory, at offset: UInt64) throws -> Int32 {
        try withExtendedLifetime(memory) { try run(memory.operation(kind, at: offset)) }
    }

    func read(_ count: Int, at offset: UInt64, skew: Int = 0, pieces: [Int] = []) throws -> [UInt8] {
        let memory = RequestMemory(count: count, skew: skew, pieces: pieces)
        try #require(try run(.read, memory, at: offset) == Int32(count))
        return memory.bytes
    }

    func write(_ bytes: [UInt8], at offset: UInt64, skew: Int = 0, pieces: [Int] = []) throws {
        let memory = RequestMemory(count: bytes.count, skew: skew, pieces: pieces)
        memory.bytes = bytes
        try #require(try run(.write, memory, at: offset) == Int32(bytes.count))
    }
}

struct Configuration: CustomTestStringConvertible, Sendable {
    var engine: RawImageOptions.Engine
    var direct: Bool
    /// 0: what the host's disk demands.
    var blockSize: UInt64 = 0

    var testDescription: String { "\(engine)\(direct ? " direct" : "")\(blockSize > 0 ? " \(blockSize)" : "")" }

    func open(_ path: String, readOnly: Bool = false, discard: Bool = false, inFlightLimit: Int = 128) throws -> RawImage {
        let options = RawImageOptions(
            path: path, readOnly: readOnly, direct: direct, engine: engine, discard: discard, inFlightLimit: inFlightLimit)
        let image = try RawImage(options, alignment: blockSize > 0 ? DirectAlignment(memory: 512, offset: blockSize) : nil)
        #expect(image.engine == engine)
        return image
    }

    static let all = [
        Configuration(engine: .ioUring, direct: false), Configuration(engine: .threads, direct: false),
        Configuration(engine: .ioUring, direct: true), Configuration(engine: .threads, direct: true),
        Configuration(engine: .ioUring, direct: true, blockSize: 4096), Configuration(engine: .threads, direct: true, blockSize: 4096),
        Configuration(engine: .native, direct: true), Configuration(engine: .native, direct: true, blockSize: 4096), Configuration(engine: .off, direct: false),
    ]
}

/// A small deterministic generator (SplitMix64), so that a failing run can be repeated.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

/// Bytes in which a shift or a repetition shows.
func pattern(_ count: Int, _ seed: UInt64) -> [UInt8] {
    var random = SeededGenerator(state: seed)
    let words = (0..<(count + 7) / 8).map { _ in random.next() }
    return words.withUnsafeBytes { Array($0.prefix(count)) }
}
