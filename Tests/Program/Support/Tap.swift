import Foundation
import LinuxSys

/// Tap devices of the host, as root.
enum Tap {
    /// In continuous integration their absence is a failure.
    static let isPossible = getenv("CI") != nil || geteuid() == 0 && (try? SysFile.open("/dev/net/tun", .readWrite).raw) != nil

    /// A name that no other test uses.
    static func name() -> String { "svt\(UInt32.random(in: 0..<1_000_000_000))" }

    static func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "/sys/class/net/\(name)") }

    /// Words for python3 that open a tap `queues` times as descriptors 3, 4, ..., then run a program.
    static func opening(_ name: String, queues: Int = 1, flags: Int = 0x5102, then program: [String]) -> [String] {
        // 0x5102: IFF_TAP, IFF_NO_PI (not set: 0x1000), IFF_MULTI_QUEUE, IFF_VNET_HDR.
        ["-c", """
            import fcntl, os, struct, sys
            taps = [os.open('/dev/net/tun', os.O_RDWR) for _ in range(\(queues))]
            for tap in taps: fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'\(name)', \(flags)))
            for tap in taps: fcntl.fcntl(tap, fcntl.F_DUPFD, 100)
            for i in range(\(queues)): os.dup2(100 + i, 3 + i)
            os.closerange(3 + \(queues), 200)
            os.execv(sys.argv[1], sys.argv[1:])
            """] + program
    }
}
