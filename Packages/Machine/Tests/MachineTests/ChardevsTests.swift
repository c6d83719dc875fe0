import MachineManager
import Testing

@testable import Machine

@Suite struct ChardevsTests {
    @Test func socketThatADeviceConnectsToByItself_isShownAsInUse() {
        var config = VmConfig(kernel: "kernel")
        let socket = VmConfig.Chardev.Socket(address: .unix(path: "/run/share"), isServer: false)
        config.chardevs = [VmConfig.Chardev(id: "share", backend: .socket(socket)), VmConfig.Chardev(id: "log", backend: .redirectToLog)]
        var chardevs = Chardevs(config)
        #expect(chardevs.infos.first == ChardevInfo(id: "share", filename: "disconnected:unix:/run/share", isOpen: false))
        #expect(chardevs.takePath("log") == nil)
        #expect(chardevs.takePath("share") == "/run/share")
        #expect(chardevs.infos.first == ChardevInfo(id: "share", filename: "unix:/run/share", isOpen: true))
    }
}
