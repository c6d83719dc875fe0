internal import CRuntime
internal import LinuxSys
internal import MachineManager

// A start, step by step: see ARCHITECTURE.md.
ProgramStart.note()
ProgramMemory.prepare()
StandardStreams.openMissing()
InheritedDescriptors.capture()
guard let words = ProcessEnvironment.arguments else {
    StandardStreams.error("stratovirt: the command line is not valid UTF-8\n")
    ExitActions.exit(1)
}
do throws(CommandLineError) {
    switch try CommandLineParser.parse(words) {
    case .help: StandardStreams.output(CommandLineParser.helpText)
    case .version: StandardStreams.output(CommandLineParser.versionText(commit: unsafe String(cString: program_commit())))
    case .run(let config): ExitActions.exit(Program.run(config))
    }
} catch {
    StandardStreams.error("stratovirt: \(error)\n")
    ExitActions.exit(1)
}
