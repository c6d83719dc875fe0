import Foundation
import Testing

/// The balloon from the management client's side; the guest only says what it would do.
@Suite struct BalloonTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// The configuration space of the first device behind the slots.
    private static let configuration: UInt32 = 0xf010_0000 + 0x200 * 6 + 0x100

    private func start(_ payload: Payload, _ balloon: String?) throws -> (Program, QMPClient) {
        let kernel = try folder.write("payload.bin", payload.bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        let device = balloon.map { ["-device", "virtio-balloon-device,id=b" + $0] } ?? []
        let program = try Program(
            ["-m", "128", "-kernel", kernel, "-drive", "file=disk.img,id=d,direct=off", "-device", "virtio-blk-device,drive=d",
             "-qmp", "unix:q.sock,server,nowait", "-serial", "stdio"] + device, in: folder)
        return (program, try QMPClient.greeted(path: folder.path("q.sock")))
    }

    private func quit(_ program: Program, _ client: QMPClient) throws {
        try client.must("quit")
        #expect(try program.wait().code == 0)
    }

    private func actual(_ client: QMPClient) throws -> Int? { (try client.must("query-balloon") as? QMPClient.Message)?["actual"] as? Int }

    @Test func machineWithoutBalloon_saysSo() throws {
        let (program, client) = try start(Payload().print("up").spin(), nil)
        for (command, arguments) in [("query-balloon", "{}"), ("balloon", "{\"value\":1}")] {
            let error = try client.execute(command, arguments)["error"] as? QMPClient.Message
            #expect(error?["class"] as? String == "DeviceNotActive")
            #expect(error?["desc"] as? String == "No balloon device has been activated")
        }
        try quit(program, client)
    }

    @Test func guestReadsTheSizeThatWasSet() throws {
        let (program, client) = try start(Payload().mapDevices().print("up").printWordsOnInput(at: [Self.configuration]), "")
        try program.waitForOutput("up")
        var seen = 2
        // More than there is means all.
        for (bytes, pages) in [(64 << 20, 16384), (1 << 40, 0), (1, 32767), (128 << 20, 0)] {
            try client.must("balloon", "{\"value\":\(bytes)}")
            program.type("x")
            seen += 4
            try until("the guest prints a word") { program.outputBytes.count == seen }
            #expect((0..<4).reduce(0) { $0 | Int(program.outputBytes[seen - 4 + $1]) << (8 * $1) } == pages)
        }
        #expect(try client.refused("balloon", "{\"value\":0}")?.hasPrefix("balloon: argument 'value' must be a whole number from 1") == true)
        // The guest has not said that it did anything.
        #expect(try actual(client) == 128 << 20)
        try quit(program, client)
    }

    @Test func whatTheGuestSays_isTold() throws {
        let payload = Payload().mapDevices().waitForInput().writeWord(8192, at: Self.configuration + 4).spin()
        let (program, client) = try start(payload, ",free-page-reporting=on,deflate-on-oom=on,auto-balloon=on,monitor-interval=5")
        #expect(try actual(client) == 128 << 20)
        program.type("x")
        #expect(try client.event("BALLOON_CHANGED")["actual"] as? Int == 96 << 20)
        #expect(try actual(client) == 96 << 20)
        try quit(program, client)
    }

    @Test func statistics_areProperties() throws {
        let (program, client) = try start(Payload().print("up").spin(), "")
        let object = "\"path\":\"/machine/peripheral/b\""
        try client.must("qom-set", "{\(object),\"property\":\"guest-stats-polling-interval\",\"value\":2}")
        #expect(try client.must("qom-get", "{\(object),\"property\":\"guest-stats-polling-interval\"}") as? Int == 2)
        let statistics = try #require(try client.must("qom-get", "{\(object),\"property\":\"guest-stats\"}") as? QMPClient.Message)
        #expect(statistics["last-update"] as? Int == 0)
        #expect((statistics["stats"] as? QMPClient.Message)?["stat-free-memory"] as? UInt64 == .max)
        try quit(program, client)
    }
}
