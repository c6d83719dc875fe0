import Foundation
import LinuxSys
import Testing

@testable import MachineManager

/// Socket files and ports.
@Suite struct QMPListenTests {
    private func temporaryPath() -> String {
        FileManager.default.temporaryDirectory.appendingPathComponent("qmp-\(UUID().uuidString.prefix(8)).sock").path
    }

    private func message(_ server: QMPServer, _ address: VmConfig.MonitorAddress) -> String {
        do {
            try server.listen(on: address)
            return "listens"
        } catch {
            return error.description
        }
    }

    @Test func socketFile_isPrivate_andGoesWithTheServer() throws {
        let server = try TestServer()
        let attributes = try FileManager.default.attributesOfItem(atPath: server.path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        server.stopLoop()
        server.server.close()
        #expect(!FileManager.default.fileExists(atPath: server.path))
        server.server.close()
    }

    @Test func socketFile_whoseLoopNeverRan_goesWithClose() throws {
        let path = temporaryPath()
        let server = QMPServer(loop: try EventLoop(), control: FakeMachine())
        try server.listen(on: .unix(path: path))
        #expect(FileManager.default.fileExists(atPath: path))
        server.close()
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func staleSocketFile_isReplaced() throws {
        let path = temporaryPath()
        let live = try StreamSocket.listen(path: path)
        // Closing a listener leaves its file behind.
        let stale = temporaryPath()
        do { _ = try StreamSocket.listen(path: stale) }
        #expect(FileManager.default.fileExists(atPath: stale))
        let server = QMPServer(loop: try EventLoop(), control: FakeMachine())
        #expect(message(server, .unix(path: stale)) == "listens")
        #expect(message(server, .unix(path: path)) == "QMP cannot listen on 'unix:\(path)': it is in use")
        server.close()
        #expect(live.raw >= 0 && FileManager.default.fileExists(atPath: path))
        try SysFile.remove(path)
    }

    @Test func fileThatIsNoSocket_staysAndIsAnError() throws {
        let path = temporaryPath()
        try "precious".write(toFile: path, atomically: false, encoding: .utf8)
        let server = QMPServer(loop: try EventLoop(), control: FakeMachine())
        #expect(message(server, .unix(path: path)) == "QMP cannot listen on 'unix:\(path)': it is in use")
        server.close()
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "precious")
        try SysFile.remove(path)
    }

    @Test func impossibleAddresses_haveTheirMessage() throws {
        let server = QMPServer(loop: try EventLoop(), control: FakeMachine())
        #expect(message(server, .unix(path: "/nonexistent/q")) == "QMP cannot listen on 'unix:/nonexistent/q': No such file or directory")
        #expect(message(server, .tcp(host: "192.0.2.1", port: 1)) == "QMP cannot listen on 'tcp:192.0.2.1:1': Cannot assign requested address")
        let used = try TestServer()
        #expect(message(server, .tcp(host: "127.0.0.1", port: used.port)) == "QMP cannot listen on 'tcp:127.0.0.1:\(used.port)': it is in use")
        server.close()
    }
}
