import Glibc
@testable import LinuxSys
import Testing

/// Serialized: what is enabled, and the log, belong to the process.
@Suite(.serialized) struct TraceTests {
    private let path = "/tmp/trace-\(getpid())-\(UInt64.random(in: 0 ... .max)).log"

    /// The lines that `body` makes, from `]:` on.
    private func lines(_ body: () -> Void) throws -> [String] {
        try Log.configure(level: .error, path: path)
        defer {
            Trace.set("*", enabled: false)
            try? Log.configure(level: .warn, path: "/dev/null")
            try? SysFile.remove(path)
        }
        body()
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = try SysFile.open(path, .readOnly).pread(into: &bytes, at: 0)
        // Other tests of this process may log too.
        return String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").compactMap { line in
            line.contains("LinuxSysTests/TraceTests.swift") || line.contains("LinuxSys/Trace.swift") ? line.split(separator: "]:").last.map(String.init) : nil
        }
    }

    @Test func table_hasUniqueNames_andFitsTheMask() {
        let names = TraceEvent.allCases.map(\.name)
        #expect(Set(names).count == names.count && names.count <= 64 && TraceEvent.allCases.allSatisfy { $0.rawValue < 64 })
        #expect(names.allSatisfy { $0.utf8.allSatisfy { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "_") } })
        #expect(TraceEvent.allCases.filter(\.isScope).map(\.name) == ["machine_realize", "device_attach", "boot_load", "machine_start"])
        #expect(TraceEvent.allCases.allSatisfy { $0.fields.description.split(separator: " ").count <= 3 })
    }

    @Test func disabledEvent_evaluatesNothing() throws {
        func fail() -> UInt64 {
            Issue.record("an argument was evaluated")
            return 0
        }
        #expect(try lines { Trace.emit(.virtioNotify, "\(fail())", fail(), fail(), fail()) } == [])
        var ran = false
        #expect(try lines { Trace.scope(.bootLoad, "\(fail())") { ran = true } } == [] && ran)
    }

    /// Whatever the level of the log is.
    @Test func enabledEvent_isALine() throws {
        let written = try lines {
            Trace.set(.virtioStatus, enabled: true)
            Trace.emit(.virtioStatus, "disk0", 3, 11)
            Trace.emit(.virtioNotify, "disk0", 1, 2)
            Trace.set("vcpu_*", enabled: true)
            Trace.emit(.vcpuStart, "", 7)
            Trace.set("*", enabled: false)
            Trace.emit(.virtioStatus, "disk0", 3, 11)
        }
        #expect(written == ["TRACE: virtio_status: disk0 old=0x3 new=0xb", "TRACE: vcpu_start: vcpu=7"])
    }

    /// A guest's or a client's text cannot forge a line.
    @Test func subject_staysOnItsLine() throws {
        let written = try lines {
            Trace.set(.deviceAdd, enabled: true)
            Trace.emit(.deviceAdd, "a\nb\u{1b}[2J" + String(repeating: "x", count: 10_000))
        }
        #expect(written.count == 1 && written[0].hasPrefix("TRACE: device_add: a b [2Jxxx") && written[0].utf8.count < 4096)
    }

    @Test func scope_tellsItsTime_alsoWhenItThrows() throws {
        let written = try lines {
            Trace.set(.bootLoad, enabled: true)
            Trace.scope(.bootLoad, "kernel") { Clock.sleep(nanoseconds: 1_000_000) }
            do throws(Errno) { try Trace.scope(.bootLoad) { () throws(Errno) in throw Errno(5) } } catch {}
        }
        #expect(written.count == 4 && written[0] == "TRACE: boot_load: kernel begins" && written[2] == "TRACE: boot_load: begins")
        let time = try #require(written[1].wholeMatch(of: /TRACE: boot_load: kernel took (\d+)\.\d\d\d ms/))
        #expect(Int(time.1).map { $0 >= 1 } == true)
        #expect(written[3].hasPrefix("TRACE: boot_load: took 0."))
    }

    /// Class: log flood. A guest that notifies in a loop fills no disk; how much was left out is told and counted.
    @Test func flood_isBounded() throws {
        let before = Trace.leftOut
        let count = 5 * Int(Trace.limit)
        let written = try lines {
            Trace.set(.virtioNotify, enabled: true)
            for index in 0..<count { Trace.emit(.virtioNotify, "d", UInt64(index)) }
            Trace.set(.virtioNotify, enabled: false)
        }
        let told = written.compactMap { $0.wholeMatch(of: /TRACE: virtio_notify: (\d+) more were left out/).flatMap { Int($0.1) } }
        let left = Int(Trace.leftOut - before)
        #expect(left > 0 && told.reduce(0, +) == left && written.count - told.count == count - left)
    }

    @Test(arguments: [
        ("*", "", true), ("", "", true), ("", "a", false), ("a", "", false), ("virtio_*", "virtio_notify", true), ("virtio_?", "virtio_notify", false),
        ("*_notify", "virtio_notify", true), ("*i*o*", "virtio_notify", true), ("v*i*z", "virtio_notify", false), ("??????_notify", "virtio_notify", true),
        ("virtio_notify", "virtio_notify", true), ("virtio_notif", "virtio_notify", false), ("Virtio_notify", "virtio_notify", false), ("**?**", "x", true),
    ])
    func pattern_matches(_ pattern: String, _ name: String, _ expected: Bool) {
        #expect(Trace.matches(Array(name.utf8), Array(pattern.utf8)) == expected)
    }

    /// Class: patterns that take exponential time.
    @Test func pattern_ofManyStars_isCheap() {
        let name = [UInt8](repeating: UInt8(ascii: "a"), count: 64)
        let pattern = [UInt8](String(repeating: "*a", count: 120).utf8) + [UInt8(ascii: "b")]
        let start = Clock.monotonicNanoseconds()
        #expect(!Trace.matches(name, pattern))
        #expect(Clock.monotonicNanoseconds() - start < 2_000_000_000)
    }
}
