import Foundation
import LinuxSys
import Testing

@testable import MachineManager

/// -trace and the QMP commands for it. Serialized: what is enabled belongs to the process.
@Suite(.serialized) struct TraceTests {
    private static let base = ["-kernel", "k", "-initrd", "i"]

    private func traces(_ words: [String]) throws -> [VmConfig.Trace] {
        guard case .run(let config) = try CommandLineParser.parse(Self.base + words) else { return [] }
        return config.traces
    }

    private func enabled() -> [String] { TraceEvent.allCases.filter { LinuxSys.Trace.isEnabled($0) }.map(\.name) }

    @Test func values_areReadInTheirOrder() throws {
        #expect(try traces(["-trace", "vcpu_*"]) == [.pattern("vcpu_*")])
        #expect(try traces(["-trace", "enable=qmp_command", "type=scopes", "-trace", "file=/f,type=all"]) == [
            .pattern("qmp_command"), .scopes, .file(path: "/f"), .events, .scopes,
        ])
        #expect(try traces(["-trace", "events=/e,type=EVENTS"]) == [.file(path: "/e"), .events])
        #expect(try traces([]) == [])
    }

    @Test(arguments: [
        ("nonsense", "-trace: there is no trace event 'nonsense'"), ("no*such", "-trace: there is no trace event 'no*such'"), ("", "-trace: enable= needs a value"),
        ("type=none", "-trace: type= must be events, scopes or all, not 'none'"), ("file=", "-trace: file= needs a value"),
        ("colour=red", "-trace: unknown parameter 'colour'"),
    ])
    func wrongValues_areNamed(_ value: String, _ expected: String) {
        #expect { try traces(["-trace", value]) } throws: { "\($0)".hasPrefix(expected) }
    }

    @Test func enabling_doesWhatWasSaid() throws {
        defer { LinuxSys.Trace.set("*", enabled: false) }
        try VmConfig.Trace.pattern("vcpu_s*").enable()
        #expect(enabled() == ["vcpu_start", "vcpu_stop"])
        try VmConfig.Trace.scopes.enable()
        #expect(enabled() == ["vcpu_start", "vcpu_stop", "machine_realize", "device_attach", "boot_load", "machine_start"])
        try VmConfig.Trace.events.enable()
        #expect(enabled().count == TraceEvent.allCases.count)
    }

    @Test func file_hasPatternsCommentsAndNamesOfOthers() throws {
        defer { LinuxSys.Trace.set("*", enabled: false) }
        let path = FileManager.default.temporaryDirectory.appending(path: "events-\(UUID().uuidString)").path(percentEncoded: false)
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data("# mine\r\nvirtio_*  # all\n\n\t-virtio_notify\nusb_xhci_run\nqmp_command".utf8).write(to: URL(filePath: path))
        try VmConfig.Trace.file(path: path).enable()
        #expect(enabled().contains("virtio_status") && !enabled().contains("virtio_notify") && enabled().last == "qmp_command")
    }

    @Test func fileThatIsNone_isNamed() throws {
        let folder = FileManager.default.temporaryDirectory
        let large = folder.appending(path: "large-\(UUID().uuidString)"), binary = folder.appending(path: "binary-\(UUID().uuidString)")
        defer { for file in [large, binary] { try? FileManager.default.removeItem(at: file) } }
        try Data(repeating: 0x61, count: 1 << 20).write(to: large)
        try Data([0xff, 0xfe, 0]).write(to: binary)
        for (path, reason) in [
            ("/nonexistent/e", "cannot read '/nonexistent/e': No such file or directory"), ("/tmp", "cannot read '/tmp': Is a directory"),
            (large.path, "'\(large.path)' is no list of events"), (binary.path, "'\(binary.path)' is no list of events"),
            ("/dev/zero", "'/dev/zero' is no list of events"),
        ] {
            #expect { try VmConfig.Trace.file(path: path).enable() } throws: { "\($0)" == "-trace: \(reason)" }
        }
        #expect(enabled() == [])
    }

    @Test(arguments: ["trace", "trace-event"]) func commands_switchEvents(prefix: String) {
        defer { LinuxSys.Trace.set("*", enabled: false) }
        let desk = Desk()
        #expect(desk.say("\(prefix)-get-state", #"{"name":"vcpu_st*"}"#) == #"[{"name":"vcpu_start","state":"disabled"},{"name":"vcpu_stop","state":"disabled"}]"#)
        #expect(desk.say("\(prefix)-set-state", #"{"name":"vcpu_st?p","enable":true}"#) == "{}")
        #expect(desk.say("\(prefix)-get-state", #"{"name":"vcpu_st*"}"#) == #"[{"name":"vcpu_start","state":"disabled"},{"name":"vcpu_stop","state":"enabled"}]"#)
        #expect(enabled() == ["vcpu_stop"])
        #expect(desk.say("\(prefix)-set-state", #"{"name":"vcpu_stop","enable":false}"#) == "{}" && enabled() == [])
        #expect(desk.say("\(prefix)-get-state", #"{"name":"usb_*"}"#) == "[]")
        #expect(desk.say("\(prefix)-set-state", #"{"name":"usb_*","enable":true}"#) == "{}")
    }

    /// docs/options.md names every event, in the order of the table.
    @Test func manual_listsTheEvents() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../..")
        let page = try String(contentsOf: root.appending(path: "docs/options.md"), encoding: .utf8)
        let section = try #require(page.components(separatedBy: "### `-trace`").dropFirst().first?.components(separatedBy: "\n### ").first)
        let words = section.components(separatedBy: "`").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        let names = TraceEvent.allCases.map(\.name)
        #expect(words.filter { names.contains($0) } == names)
        #expect(section.contains("at most \(LinuxSys.Trace.limit) times a second"))
    }
}
