import Foundation
import Testing

/// Bad input: one clear line on standard error, exit code 1, nothing left behind.
@Suite struct CommandLineTests {
    private let folder: TemporaryFolder
    private let kernel: String

    init() throws {
        folder = try TemporaryFolder()
        kernel = try folder.write("payload.bin", Payload().print("ran").reset().bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
    }

    private static let drive = ["-drive", "file=disk.img,id=d,direct=off"]
    private static let device = ["-device", "virtio-blk-device,drive=d"]
    private static let disk = drive + device

    private func refuses(_ arguments: [String], _ message: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let before = folder.names
        let result = try Program.run(["-m", "128", "-serial", "stdio", "-qmp", "unix:q.sock,server,nowait"] + arguments, in: folder)
        #expect(result.error == "stratovirt: \(message)\n", sourceLocation: sourceLocation)
        #expect(result.code == 1, sourceLocation: sourceLocation)
        #expect(result.output == "", sourceLocation: sourceLocation)
        #expect(folder.names == before, sourceLocation: sourceLocation)
    }

    private func refusesKernel(_ bytes: [UInt8], _ message: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try folder.write("bad", bytes)
        try refuses(["-kernel", "bad"] + Self.disk, "kernel 'bad': \(message)", sourceLocation: sourceLocation)
    }

    @Test func kernel_missingOrUnreadable() throws {
        try refuses(Self.disk, "-kernel is missing")
        try refuses(["-kernel", "none"] + Self.disk, "kernel 'none': No such file or directory")
        try refuses(["-kernel", "/"] + Self.disk, "kernel '/': not a regular file")
        try refusesKernel([], "the file is empty")
    }

    @Test func bzImage_truncated() throws {
        var image = [UInt8](repeating: 0, count: 1024)
        func put(_ offset: Int, _ bytes: [UInt8]) { image.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
        put(0x1f1, [1])
        put(0x1f4, [0x00, 0x10])  // 0x1000 paragraphs of 16 bytes
        put(0x1fe, [0x55, 0xaa])
        put(0x201, [0x66])  // the header ends at 0x268
        put(0x202, Array("HdrS".utf8) + [0x0f, 0x02])
        put(0x211, [1])
        put(0x236, [1])
        try refusesKernel(image, "truncated bzImage: it needs at least 66560 bytes, the file has 1024")
    }

    @Test func elf_truncatedOrMisplacedOrOverlapping() throws {
        let good = ELFImage([(0x100_0000, 0x1000)]).bytes
        try refusesKernel(Array(good.prefix(100)), "truncated ELF kernel: it needs at least 120 bytes, the file has 100")
        try refusesKernel(ELFImage([(0x4000_0000, 0x1000)], entry: 0x4000_0000).bytes,
                          "segment 0 needs memory 0x40000000..0x40001000, but RAM ends at 0x8000000")
        try refusesKernel(ELFImage([(0x100_0000, 0x1000), (0x100_0800, 0x100)]).bytes,
                          "malformed ELF kernel: segments 0 and 1 overlap in memory")
        try refusesKernel(ELFImage([(0x7000, 0x1000), (0x100_0000, 0x1000)]).bytes,
                          "segment 0 wants memory 0x7000..0x8000, where boot tables and firmware data lie")
        try refusesKernel(ELFImage([(0x100_0000, 0x1000)], entry: 0x500_0000).bytes,
                          "malformed ELF kernel: entry 0x5000000 lies in no loaded segment")
    }

    @Test func initrd_largerThanRAM() throws {
        _ = try folder.image("initrd", size: 200 << 20)
        try refuses(["-kernel", kernel, "-initrd", "initrd"], "initrd 'initrd': 209715200 bytes do not fit below 0x8000000")
        try refuses(["-kernel", kernel, "-initrd", "none"], "initrd 'none': No such file or directory")
    }

    @Test func commandLine_longerThanTheKernelAccepts() throws {
        try refuses(["-kernel", kernel, "-append", String(repeating: "x", count: 3000)] + Self.disk,
                    "kernel command line has 3218 bytes, this kernel accepts 2047")
    }

    @Test func options_unknownUnsupportedOrWrong() throws {
        try refuses(["-kernel", kernel, "-bogus"], "unknown option '-bogus'")
        try refuses(["-kernel", kernel, "-smbios", "type=0"], "-smbios: not supported yet")
        try refuses(["-kernel", kernel, "-netdev", "tap,id=n"], "-netdev tap: ifname=, fd=, fds= or path= is missing")
        try refuses(["-kernel", kernel, "-smp", "300"], "-smp: cpus= must be a number from 1 to 254, not '300'")
        try refuses(["-kernel", kernel, "-qmp", "unix:second,server,nowait"], "-qmp: given more than once")
    }

    @Test(arguments: [("12X", "-m: size= must be a size such as 512M or 2G, not '12X'"),
                      ("64", "-m: size= must be from 128M to 512G, not '64'"),
                      ("99999999999999999999G", "-m: size= must be a size such as 512M or 2G, not '99999999999999999999G'")])
    func memory_badSize(_ size: String, _ message: String) throws {
        let result = try Program.run(["-m", size, "-kernel", kernel] + Self.drive, in: folder)
        #expect(result.error == "stratovirt: \(message)\n")
        #expect(result.code == 1)
    }

    @Test func drive_duplicateMissingOrUnusable() throws {
        try refuses(["-kernel", kernel] + Self.drive + Self.drive, "-drive: id 'd' is used twice")
        try refuses(["-kernel", kernel] + Self.device, "the guest has no root file system: give -initrd, -drive or -chardev")
        try refuses(["-kernel", kernel, "-device", "virtio-blk-device,drive=x"] + Self.drive, "-device virtio-blk-device: there is no -drive with id 'x'")
        try refuses(["-kernel", kernel, "-drive", "file=none.img,id=d,direct=off"] + Self.device,
                    "-drive: cannot open drive 'none.img': No such file or directory")
        try refuses(["-kernel", kernel, "-drive", "file=/dev,id=d,direct=off"] + Self.device,
                    "-drive: drive '/dev' is a directory; it must be a regular file or a block device")
        // A file that not even root may open for writing.
        try refuses(["-kernel", kernel, "-drive", "file=/sys/kernel/notes,id=d,direct=off"] + Self.device,
                    "-drive: drive '/sys/kernel/notes' cannot be opened for writing (Permission denied); use readonly=on or make it writable")
        try refuses(["-kernel", kernel, "-drive", "file=disk.img,id=e,direct=off", "-device", "virtio-blk-device,drive=e"] + Self.disk,
                    "-drive: drive 'disk.img' is already in use by another drive or process")
    }

    @Test func tooManyDevices_nameTheOneWithoutAnInterrupt() throws {
        var arguments = ["-kernel", kernel]
        for number in 0...15 {
            _ = try folder.image("disk\(number).img", size: 1 << 16)
            arguments += ["-drive", "file=disk\(number).img,id=d\(number),direct=off", "-device", "virtio-blk-device,drive=d\(number),id=blk\(number)"]
        }
        try refuses(arguments, "-device: no interrupt is left for device blk15: 17 devices fit")
    }

    @Test func socketsAndFiles_thatCannotBeMade() throws {
        let result = try Program.run(["-kernel", kernel, "-qmp", "unix:/nonexistent/q,server,nowait"] + Self.disk, in: folder)
        #expect(result.error == "stratovirt: QMP cannot listen on 'unix:/nonexistent/q': No such file or directory\n")
        let other = try Program.run(["-kernel", kernel, "-serial", "file,path=/nonexistent/x"] + Self.disk, in: folder)
        #expect(other.error == "stratovirt: -serial: cannot open '/nonexistent/x': No such file or directory\n")
        #expect(other.code == 1)
    }

    @Test func socketOfALiveServer_isLeftAlone() throws {
        let first = try Program(["-kernel", try folder.write("spin.bin", Payload().print("up").spin().bytes), "-m", "128", "-serial", "stdio",
                                 "-qmp", "unix:q.sock,server,nowait"] + Self.drive, in: folder)
        try first.waitForOutput("up")
        try refuses(["-kernel", kernel, "-initrd", kernel], "QMP cannot listen on 'unix:q.sock': it is in use")
        #expect(first.isRunning)
        #expect(try QMPClient.greeted(path: folder.path("q.sock")).execute("quit")["return"] != nil)
    }

    @Test func helpAndVersion_goToStandardOutput() throws {
        let help = try Program.run(["-help"], in: folder)
        #expect(help.code == 0 && help.error == "" && help.output.contains("-kernel") && help.output.contains("-append"))
        let version = try Program.run(["-version"], in: folder)
        #expect(version.code == 0 && version.error == "" && version.output.hasPrefix("StratoVirt "))
    }
}

/// A 64-bit ELF kernel of segments with file contents of 0x90.
private struct ELFImage {
    let bytes: [UInt8]

    init(_ segments: [(address: UInt64, size: UInt64)], entry: UInt64 = 0x100_0000) {
        func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] { (0..<T.bitWidth / 8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
        var image: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + [UInt8](repeating: 0, count: 9)
        image += little(UInt16(2)) + little(UInt16(62)) + little(UInt32(1)) + little(entry) + little(UInt64(64)) + little(UInt64(0)) + little(UInt32(0))
        image += little(UInt16(64)) + little(UInt16(56)) + little(UInt16(segments.count)) + little(UInt16(0)) + little(UInt16(0)) + little(UInt16(0))
        for segment in segments {
            image += little(UInt32(1)) + little(UInt32(5)) + little(UInt64(0x1000)) + little(segment.address) + little(segment.address)
            image += little(segment.size) + little(segment.size) + little(UInt64(0x1000))
        }
        bytes = image + [UInt8](repeating: 0, count: 0x1000 - image.count) + [UInt8](repeating: 0x90, count: 0x1000)
    }
}
