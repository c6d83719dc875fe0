import Foundation
import Glibc
import LinuxSys
import Testing

@testable import BlockBackend

/// A loop device with sectors of 4096 bytes over a file.
private final class LoopDevice {
    let file: TemporaryFile
    let path: String

    init(size: Int, readOnly: Bool = false) throws {
        file = try TemporaryFile(size: size, byte: 0xa5)
        path = try Self.losetup(["--find", "--show", "--sector-size", "4096"] + (readOnly ? ["--read-only"] : []) + [file.path])
    }

    deinit { _ = try? Self.losetup(["--detach", path]) }

    static let losetupPath = "/usr/sbin/losetup"
    /// Loop devices need root and the kernel's driver. In continuous integration their absence is a failure.
    static var isAvailable: Bool {
        getenv("CI") != nil || geteuid() == 0 && access(losetupPath, X_OK) == 0 && access("/dev/loop-control", F_OK) == 0
    }

    @discardableResult
    static func losetup(_ arguments: [String]) throws -> String {
        let child = Process()
        child.executableURL = URL(fileURLWithPath: losetupPath)
        child.arguments = arguments
        let output = Pipe()
        child.standardOutput = output
        try child.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        child.waitUntilExit()
        try #require(child.terminationStatus == 0)
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

@Suite(.enabled(if: LoopDevice.isAvailable, "needs root and loop devices"), .serialized)
struct BlockDeviceTests {
    private static let configurations = [
        Configuration(engine: .ioUring, direct: false), Configuration(engine: .threads, direct: false),
        Configuration(engine: .ioUring, direct: true), Configuration(engine: .threads, direct: true),
    ]

    @Test(arguments: configurations)
    func deviceOf4096ByteSectors_takesRequestsOf512(_ configuration: Configuration) throws {
        let device = try LoopDevice(size: 1 << 20)
        let image = try configuration.open(device.path)
        #expect(image.sectorCount == 2048)
        #expect(image.logicalBlockSize == 4096)
        if configuration.direct { #expect(image.image.alignment?.offset == 4096) }
        var expected = [UInt8](repeating: 0xa5, count: 1 << 20)
        for (offset, length) in [(0, 512), (512, 512), (4096, 8192), (12288 - 512, 1024), (100_352, 70_144), ((1 << 20) - 512, 512)] {
            let bytes = pattern(length, UInt64(offset))
            try image.write(bytes, at: UInt64(offset), pieces: [512, 1024])
            expected.replaceSubrange(offset..<offset + length, with: bytes)
        }
        #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
        #expect(try image.read(1 << 20, at: 0) == expected)
        #expect(try image.run(.write, RequestMemory(count: 512), at: 1 << 20) == -EINVAL)
    }

    @Test(arguments: configurations)
    func discardAndZeroes_onADevice_freeTheFileBelow(_ configuration: Configuration) throws {
        let device = try LoopDevice(size: 4 << 20)
        let image = try configuration.open(device.path, discard: true)
        #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
        let before = device.file.status.st_blocks
        // One sector more than whole blocks at each side: the hint leaves the edges alone.
        #expect(try image.run(BlockOperation(.discard, offset: (1 << 20) - 512, length: (1 << 20) + 1024, token: 0)) == 0)
        #expect(device.file.status.st_blocks <= before - (1 << 20) / 512 + 64)
        #expect(try image.read(4096, at: 1 << 20) == Array(repeating: 0, count: 4096))
        #expect(try image.read(512, at: (1 << 20) - 512) == Array(repeating: 0xa5, count: 512))
        #expect(try image.run(BlockOperation(.discard, offset: 512, length: 1024, token: 0)) == 0)
        #expect(try image.run(BlockOperation(.writeZeroes, offset: 512, length: 10240, token: 0)) == 0)
        #expect(try image.read(11264, at: 0) == Array(repeating: 0xa5, count: 512) + Array(repeating: 0, count: 10240) + Array(repeating: 0xa5, count: 512))
    }

    @Test func writeProtectedDevice_needsReadOnly() throws {
        let device = try LoopDevice(size: 65536, readOnly: true)
        do {
            _ = try RawImage.open(RawImageOptions(path: device.path))
            Issue.record("opened for writing")
        } catch {
            #expect(error.description.hasPrefix("drive '\(device.path)' cannot be opened for writing ("))
        }
        let image = try RawImage.open(RawImageOptions(path: device.path, readOnly: true))
        #expect(try image.read(512, at: 0) == Array(repeating: 0xa5, count: 512))
    }

    @Test func sameDeviceTwice_isRefused() throws {
        let device = try LoopDevice(size: 65536)
        let image = try RawImage.open(RawImageOptions(path: device.path))
        #expect(throws: BlockError.inUse(path: device.path, readOnly: false)) { _ = try RawImage.open(RawImageOptions(path: device.path)) }
        #expect(!image.isReadOnly)
    }
}
